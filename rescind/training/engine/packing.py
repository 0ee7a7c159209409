"""Several pairs in one row of tokens, none of which sees another."""

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
"""Nats a pair's mean loss may differ by between packed and alone, in float32."""


class NotPackable(TrainingError):
    """The model lets pairs that share a row see one another."""

    code = "not-packable"


def rows_of(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Places of the pairs in each row: first fit, longest first, ties in the order given.

    A pair longer than `capacity` has a row of its own.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        for number, left in enumerate(room):
            if length <= left:
                rows[number].append(place)
                room[number] -= length
                break
        else:
            rows.append([place])
            room.append(max(0, capacity - length))
    return rows


def pack(
    base: Base, pairs: Sequence[Encoded], capacity: int, *, prompt_in_loss: bool = True
) -> Batch:
    """The pairs in as few rows as first fit finds, cut to the longest row.

    `positions` count from 0 in each pair; `mask` is (rows, 1, longest, longest): a token sees those of
    its own pair up to itself, and padding sees itself. `segments` (rows, longest) is the place of the
    pair that a token belongs to, -1 for padding.
    """
    rows = rows_of([len(pair.tokens) for pair in pairs], capacity)
    longest = max(sum(len(pairs[place].tokens) for place in row) for row in rows)
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    positions = torch.zeros((len(rows), longest), dtype=torch.long)
    segments = torch.full((len(rows), longest), -1, dtype=torch.long)
    for line, row in enumerate(rows):
        start = 0
        for place in row:
            pair = pairs[place]
            end = start + len(pair.tokens)
            tokens[line, start:end] = torch.tensor(pair.tokens)
            first = start + max(1, 0 if prompt_in_loss else pair.prompt_length)
            labels[line, first:end] = tokens[line, first:end]
            positions[line, start:end] = torch.arange(end - start)
            segments[line, start:end] = place
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
    """Raises NotPackable unless up to eight of the pairs lose packed what they lose alone.

    Models without position ids, with a state that runs through the row, or with their own idea of a
    mask are found so, whatever their architecture.
    """
    if "position_ids" not in inspect.signature(base.model.forward).parameters:
        raise NotPackable(
            f"{type(base.model).__name__} takes no position ids, so its pairs cannot share a row: "
            "use batching 'bucketed'"
        )
    few = list(pairs[:8])
    packed = pack(base, few, max(capacity, sum(len(pair.tokens) for pair in few)))
    together = batch_losses(network, packed, flat=True)
    owners = packed.segments
    assert owners is not None
    alone = batch_losses(network, Batch(*pad(base, few, prompt_in_loss=True)), flat=True)
    for place, pair in enumerate(few):
        mine = together[owners[:, 1:] == place].sum() / (len(pair.tokens) - 1)
        own = alone[place].sum() / (len(pair.tokens) - 1)
        difference = float((mine - own).abs())
        if not difference <= _TOLERANCE * max(1.0, float(own)):
            raise NotPackable(
                f"{type(base.model).__name__} gives a pair another loss in a shared row than alone "
                f"(by {difference:.3g} nats a token): use batching 'bucketed'"
            )
