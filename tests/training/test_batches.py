"""Batches for passes without gradients are bounded by their logits, not only by their rows."""

from types import SimpleNamespace
from typing import Any

import pytest

from rescind.training.engine.batches import LOGIT_BYTES, batches_of


def base(vocabulary: int) -> Any:
    return SimpleNamespace(model=SimpleNamespace(config=SimpleNamespace(vocab_size=vocabulary)))


@pytest.mark.parametrize("vocabulary", [512, 49_152, 262_144])
def test_every_row_is_in_one_batch_whose_logits_fit(vocabulary: int) -> None:
    lengths = [7, 300, 512, 512, 512, 3, 90, *[40] * 200, 512]
    batches = list(batches_of(base(vocabulary), lengths, 64))
    assert [index for batch in batches for index in batch] == list(range(len(lengths)))
    for batch in batches:
        rows = len(batch) * max(lengths[index] for index in batch)
        assert len(batch) <= 64
        assert len(batch) == 1 or 4 * vocabulary * rows <= LOGIT_BYTES


def test_a_small_model_has_the_batches_that_it_always_had() -> None:
    assert [len(batch) for batch in batches_of(base(512), [512] * 150, 64)] == [64, 64, 22]


def test_a_row_that_is_too_long_by_itself_is_a_batch() -> None:
    assert list(batches_of(base(LOGIT_BYTES), [5, 5], 64)) == [range(1), range(1, 2)]
    assert list(batches_of(base(1), [], 64)) == []
