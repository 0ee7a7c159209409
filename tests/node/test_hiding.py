"""The noise that hides a node's contributions follows from its key and from what it hides."""

from types import SimpleNamespace

import numpy as np
import pytest

from rescind.contracts import Account
from rescind.core import HIDING_SHAPE
from rescind.node.hiding import hiding_noise
from rescind.node.session import Session

TENSORS = {"a/w": np.arange(6, dtype=np.int32)}


def session_of(key: int) -> Session:
    account = Account.from_key(bytes([key]) * 32)
    return SimpleNamespace(account=account)


def test_a_run_that_is_repeated_with_the_same_keys_has_the_same_noise() -> None:
    noise = hiding_noise(session_of(1), TENSORS, 2, None)
    assert noise.shape == HIDING_SHAPE
    assert np.array_equal(noise, hiding_noise(session_of(1), dict(TENSORS), 2, None))


@pytest.mark.parametrize(
    ("key", "tensors", "round_id", "offer_id"),
    [
        (2, TENSORS, 2, None),
        (1, {"a/w": np.arange(1, 7, dtype=np.int32)}, 2, None),
        (1, TENSORS, 3, None),
        (1, TENSORS, 2, 0),
        (1, TENSORS, 2, 5),
    ],
)
def test_nothing_else_has_that_noise(
    key: int, tensors: dict[str, np.ndarray], round_id: int, offer_id: int | None
) -> None:
    noise = hiding_noise(session_of(1), TENSORS, 2, None)
    other = hiding_noise(session_of(key), tensors, round_id, offer_id)
    assert not np.array_equal(noise, other)
    assert abs(np.corrcoef(noise.reshape(-1), other.reshape(-1))[0, 1]) < 0.06
