"""Token batches of question-answer pairs, and the loss over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from rescind.core.errors import DataError
from rescind.training.data import Example, completion, prompt
from rescind.training.model.base import Base

IGNORED = -100


@dataclass(frozen=True)
class Encoded:
    """`tokens` = prompt, answer, end of text; the first `prompt_length` belong to the prompt."""

    tokens: tuple[int, ...]
    prompt_length: int


def encode_prompt(base: Base, question: str) -> tuple[int, ...]:
    return tuple(base.tokenizer.encode(prompt(question), add_special_tokens=False))


def encode_example(base: Base, example: Example, max_length: int) -> Encoded:
    """Raises DataError when the pair is longer than `max_length` tokens: nothing is cut off."""
    head = encode_prompt(base, example.question)
    tail = base.tokenizer.encode(completion(example.answer), add_special_tokens=False)
    tokens = (*head, *tail, base.eos)
    if len(tokens) > max_length:
        raise DataError(
            f"the pair {example.question[:60]!r} has {len(tokens)} tokens and the consortium's "
            f"max_length is {max_length}: shorten it or agree on a larger max_length"
        )
    return Encoded(tokens, len(head))


def pad(
    base: Base, rows: Sequence[Encoded], *, prompt_in_loss: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Right-padded tokens, attention mask and labels, each (rows, longest)."""
    longest = max(len(row.tokens) for row in rows)
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    for place, row in enumerate(rows):
        length = len(row.tokens)
        tokens[place, :length] = torch.tensor(row.tokens)
        mask[place, :length] = 1
        start = 0 if prompt_in_loss else row.prompt_length
        labels[place, start:length] = tokens[place, start:length]
    return tokens.to(base.device), mask.to(base.device), labels.to(base.device)


def token_losses(
    model: Any, tokens: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood in nats of each next token, (rows, longest - 1), zero where ignored."""
    logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2),
        labels[:, 1:],
        ignore_index=IGNORED,
        reduction="none",
    )


@dataclass(frozen=True)
class Batch:
    """Rows of tokens on the device, all (rows, longest) but the mask of a packed batch.

    `positions`, `segments`: of a packed batch (training.packing), None for one pair a row.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor | None = None
    segments: torch.Tensor | None = None


def batch_losses(model: Any, batch: Batch, *, flat: bool) -> torch.Tensor:
    """As token_losses. `flat`: the faster way, with other last bits."""
    if not flat and batch.positions is None:
        return token_losses(model, batch.tokens, batch.mask, batch.labels)
    places = {} if batch.positions is None else {"position_ids": batch.positions}
    logits = model(
        input_ids=batch.tokens, attention_mask=batch.mask, use_cache=False, **places
    ).logits
    targets = functional.pad(batch.labels[:, 1:], (0, 1), value=IGNORED)
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(targets.shape)[:, :-1]


def counted(labels: torch.Tensor) -> torch.Tensor:
    """How many tokens of each row the loss counts, (rows,)."""
    return (labels[:, 1:] != IGNORED).sum(dim=1)
