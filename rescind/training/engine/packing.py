"""Packing: several pairs in one row of tokens, none of which attends to another."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from rescind.core.errors import TrainingError
from rescind.training.engine.batches import (
    IGNORED,
    Batch,
    Encoded,
    batch_losses,
    pad,
)
from rescind.training.model.base import Base

_TOLERANCE = 2e-3
"""How far a pair's mean loss may differ between packed and alone, in nats: float32 rounding,
with room."""


class NotPackable(TrainingError):
    """The model lets pairs that share a row see each other."""

    code = "not-packable"


def rows_of(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the indices of the pairs in each row: first fit, longest first, ties in order.

    A pair longer than `capacity` gets its own row.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        length = lengths[index]
        for number, left in enumerate(room):
            if length <= left:
                rows[number].append(index)
                room[number] -= length
                break
        else:
            rows.append([index])
            room.append(max(0, capacity - length))
    return rows


def pack(
    base: Base, pairs: Sequence[Encoded], capacity: int, *, prompt_in_loss: bool = True
) -> Batch:
    """Pack pairs into rows by first fit, cut to the longest row.

    Returns:
        A batch whose `positions` count from 0 in each pair. Its `mask` is (rows, 1, longest,
        longest): a token sees its own pair's tokens up to itself, and padding sees itself. Its
        `segments` (rows, longest) hold the index of each token's pair, -1 for padding.
    """
    rows = rows_of([len(pair.tokens) for pair in pairs], capacity)
    longest = max(sum(len(pairs[index].tokens) for index in row) for row in rows)
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    positions = torch.zeros((len(rows), longest), dtype=torch.long)
    segments = torch.full((len(rows), longest), -1, dtype=torch.long)
    for line, row in enumerate(rows):
        start = 0
        for index in row:
            pair = pairs[index]
            end = start + len(pair.tokens)
            tokens[line, start:end] = torch.tensor(pair.tokens)
            first = start + pair.first_counted(prompt_too=prompt_in_loss)
            labels[line, first:end] = tokens[line, first:end]
            positions[line, start:end] = torch.arange(end - start)
            segments[line, start:end] = index
            start = end
    mask = _mask(base.model, segments.to(base.device))
    return Batch(
        tokens.to(base.device),
        mask,
        labels.to(base.device),
        positions.to(base.device),
        segments.to(base.device),
    )


def _mask(model: Any, segments: torch.Tensor) -> torch.Tensor:
    longest = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    causal = torch.ones(longest, longest, dtype=torch.bool, device=segments.device).tril()
    padding = (segments == -1)[:, :, None]
    itself = torch.eye(longest, dtype=torch.bool, device=segments.device)
    seen = torch.where(padding, itself, same & causal)[:, None]
    if model.config._attn_implementation == "sdpa":
        return seen
    dtype = next(model.parameters()).dtype
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
        ~seen, torch.finfo(dtype).min
    )


@torch.no_grad()
def check_packing(base: Base, network: Any, pairs: Sequence[Encoded], capacity: int) -> None:
    """Check on up to eight pairs that each has the same loss packed and alone.

    This finds models without position ids, with a state that runs through the row, or with their
    own mask, whatever their architecture.

    Raises:
        NotPackable: A pair's loss differs.
    """
    if "position_ids" not in inspect.signature(base.model.forward).parameters:
        raise NotPackable(
            f"{type(base.model).__name__} takes no position ids, so its pairs cannot share a row. "
            "Set batching to 'bucketed'."
        )
    few = list(pairs[:8])
    packed = pack(base, few, max(capacity, sum(len(pair.tokens) for pair in few)))
    together = batch_losses(network, packed, flat=True)
    owners = packed.segments
    assert owners is not None
    alone = batch_losses(network, Batch(*pad(base, few, prompt_in_loss=True)), flat=True)
    for index, pair in enumerate(few):
        count = len(pair.tokens) - pair.first_counted(prompt_too=True)
        packed_loss = together[owners[:, 1:] == index].sum() / count
        own_loss = alone[index].sum() / count
        difference = float((packed_loss - own_loss).abs())
        if not difference <= _TOLERANCE * max(1.0, float(own_loss)):
            raise NotPackable(
                f"{type(base.model).__name__} gives a pair another loss in a shared row than alone "
                f"(by {difference:.3g} nats a token). Set batching to 'bucketed'."
            )
