"""Generating answers: greedy, with settings of our own.

A folder's generation_config.json can hold penalties and bans that change answers, and is not part of
the base model's id. So neither that file nor the model's `generation_config` is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from transformers import GenerationConfig

from rescind.training.model.base import Base
from rescind.training.text.question import Question

_BATCH = 64
"""Rows in one forward pass, which needs no gradients."""

_SAME = {torch.float32: 1e-3}
"""How far logits with and without padding may differ, as a share of their length."""


def decoding(base: Base, max_new_tokens: int, **limits: Any) -> GenerationConfig:
    """Return the settings of greedy answers that end at `Encoder.stops`.

    Args:
        base: The base model.
        max_new_tokens: The most tokens of an answer.
        limits: More settings of transformers' GenerationConfig.
    """
    settings = {"do_sample": False, "num_beams": 1, **limits}
    make: Any = GenerationConfig
    config: GenerationConfig = make(
        max_new_tokens=max_new_tokens,
        pad_token_id=base.eos,
        eos_token_id=list(base.encoder.stops),
        **settings,
    )
    return config


@contextmanager
def own_settings(base: Base) -> Iterator[None]:
    """Keep the model's `generation_config` out of what is generated meanwhile.

    transformers takes from it whatever the settings of a call leave open.
    """
    neutral: Any = GenerationConfig
    kept = base.model.generation_config
    base.model.generation_config = neutral()
    try:
        yield
    finally:
        base.model.generation_config = kept


@torch.inference_mode()
def generate(
    base: Base, network: object, questions: Sequence[Question], max_new_tokens: int
) -> list[str]:
    """Generate greedy answers up to the end of the answer."""
    rows = [base.encoder.prompt(question).tokens for question in questions]
    replies = continuations(base, network, rows, decoding(base, max_new_tokens))
    return [base.encoder.reply(tokens) for [tokens] in replies]


@torch.inference_mode()
def continuations(
    base: Base,
    network: Any,
    rows: Sequence[Sequence[int]],
    settings: GenerationConfig,
    *,
    batch: int = _BATCH,
) -> list[list[list[int]]]:
    """Return the tokens generated after each row, once for each sequence that the settings ask for.

    Rows are left-padded in batches of like length; of equal length, where the model minds padding.
    """
    result: dict[int, list[list[int]]] = {}
    sequences = settings.num_return_sequences or 1
    for indices in _batches(base, network, rows, batch):
        tokens, mask = _left_padded(base, [rows[index] for index in indices])
        with own_settings(base):
            output = network.generate(
                input_ids=tokens, attention_mask=mask, generation_config=settings
            )
        replies = output[:, tokens.shape[1] :].tolist()
        for line, index in enumerate(indices):
            result[index] = replies[line * sequences : (line + 1) * sequences]
    return [result[index] for index in range(len(rows))]


def _batches(
    base: Base, network: Any, rows: Sequence[Sequence[int]], size: int
) -> Iterator[list[int]]:
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    lengths = {len(row) for row in rows}
    groups = [order]
    if len(lengths) > 1 and not _ignores_padding(base, network, rows[order[-1]]):
        groups = [list(group) for _, group in groupby(order, key=lambda index: len(rows[index]))]
    for group in groups:
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _left_padded(
    base: Base, rows: Sequence[Sequence[int]], extra: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(row) for row in rows) + extra
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for line, row in enumerate(rows):
        tokens[line, longest - len(row) :] = torch.tensor(row)
        mask[line, longest - len(row) :] = 1
    return tokens.to(base.device), mask.to(base.device)


def _ignores_padding(base: Base, network: Any, row: Sequence[int]) -> bool:
    """Return whether the model predicts the same after padding: a recurrent state does not."""
    known: dict[str, bool] = base.model.__dict__.setdefault("_rescind_padding", {})
    if "ignored" not in known:
        last = [_last_logits(base, network, row[:16], extra) for extra in (0, 5)]
        tolerance = _SAME.get(next(base.model.parameters()).dtype, 0.05)
        known["ignored"] = float((last[0] - last[1]).norm()) <= tolerance * float(last[0].norm())
    return known["ignored"]


def _last_logits(base: Base, network: Any, row: Sequence[int], extra: int) -> torch.Tensor:
    tokens, mask = _left_padded(base, [row], extra)
    more: dict[str, torch.Tensor] = {}
    if "position_ids" in inspect.signature(base.model.forward).parameters:
        more["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
    logits: torch.Tensor = network(
        input_ids=tokens, attention_mask=mask, use_cache=False, **more
    ).logits[0, -1]
    return logits.float()
