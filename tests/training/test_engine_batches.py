"""Rows, batches and packing of the training engine."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    Base,
    LoraModel,
    load_base,
)
from rescind.training.engine.batches import (
    Batch,
    batch_losses,
    encode_example,
    pad,
    token_losses,
)
from rescind.training.engine.gradients import micro_batches
from rescind.training.engine.packing import rows_of
from rescind.training.engine.sampling import bucketed, shuffled
from tests.support.models import (
    examples,
)


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 60))
def test_packing_uses_every_pair_once_and_overfills_no_row(
    lengths: list[int], capacity: int
) -> None:
    rows = rows_of(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) <= capacity


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 9), st.integers(0, 99))
def test_buckets_draw_every_pair_equally_often(lengths: list[int], size: int, seed: int) -> None:
    order = bucketed(lengths, size, seed)
    size = min(size, len(lengths))
    drawn = [index for _ in range(4 * len(lengths)) for index in next(order)]
    counts = np.bincount(drawn, minlength=len(lengths))
    assert counts.sum() == 4 * len(lengths) * size
    assert counts.max() - counts.min() <= 2 * -(-16 * size // len(lengths)) + 1


def test_buckets_hold_pairs_of_like_length() -> None:
    lengths = list(np.random.default_rng(1).integers(5, 200, size=256))
    spread = []
    for order in (bucketed(lengths, 8, 0), shuffled(256, 8, 0)):
        batches = [next(order) for _ in range(32)]
        spread.append(sum(8 * max(lengths[p] for p in b) for b in batches) / sum(lengths))
    assert spread[0] < 1.1 < 1.5 < spread[1]


def test_micro_batches_keep_the_order(base: Base) -> None:
    rows = [encode_example(base, e, 512) for e in examples(5)]
    assert [len(part) for part in micro_batches(rows, 2)] == [2, 2, 1]
    assert [row for part in micro_batches(rows, 2) for row in part] == rows


def test_the_flat_loss_equals_the_plain_loss(model: LoraModel) -> None:
    rows = [encode_example(model.base, e, 512) for e in examples(5)]
    tokens, mask, labels = pad(model.base, rows, prompt_in_loss=False)
    with torch.no_grad():
        plain = token_losses(model.use(None), tokens, mask, labels)
        flat = batch_losses(model.use(None), Batch(tokens, mask, labels), flat=True)
    torch.testing.assert_close(plain, flat, rtol=1e-5, atol=1e-5)
