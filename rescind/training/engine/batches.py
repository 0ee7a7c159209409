"""Token batches of examples, and the loss over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from rescind.training.data import Example
from rescind.training.model.base import Base
from rescind.training.text.encoder import Encoded as Encoded
from rescind.training.text.question import Question

IGNORED = -100
"""The label of a token that the loss does not count: cross_entropy's default `ignore_index`."""


LOGIT_BYTES = 2**28
"""The most bytes of logits in float32 of a forward pass without gradients; it holds a few such
tensors at a time."""


def encode_prompt(base: Base, question: Question) -> tuple[int, ...]:
    """Return the tokens of the prompt of a question, after the turns before it.

    Like all functions here, this follows the base's agreed text rules (`Base.text`).
    """
    return base.encoder.prompt(question).tokens


def encode_example(base: Base, example: Example, max_length: int) -> Encoded:
    """Tokenize an example. Nothing is cut off. A document has no prompt.

    Raises:
        DataError: The example is longer than `max_length` tokens.
    """
    return base.encoder.within(example, max_length)


def encode_rows(base: Base, examples: Iterable[Example], max_length: int) -> list[Encoded]:
    """Tokenize examples for training. A document longer than `max_length` becomes several rows.

    Raises:
        DataError: A question with its answer is longer than `max_length` tokens.
    """
    return [row for example in examples for row in base.encoder.rows(example, max_length)]


def batches_of(base: Base, lengths: Sequence[int], most: int) -> Iterator[range]:
    """Cut rows into batches for a forward pass whose logits fit LOGIT_BYTES.

    A real model has 50,000 to 250,000 tokens in its vocabulary: 64 rows of 512 tokens would have
    logits of 6 to 30 GB.

    Args:
        base: The base model.
        lengths: Tokens of each row.
        most: The most rows in a batch.

    Yields:
        The indices of each batch, in order. A row that is too long by itself is a batch of its own.
    """
    room = LOGIT_BYTES // (4 * int(getattr(base.model.config, "vocab_size", 1)))
    start = longest = 0
    for index, length in enumerate(lengths):
        grown = max(longest, length)
        if index > start and ((index - start + 1) * grown > room or index - start == most):
            yield range(start, index)
            start, grown = index, length
        longest = grown
    if lengths:
        yield range(start, len(lengths))


def pad(
    base: Base, rows: Sequence[Encoded], *, prompt_in_loss: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return right-padded tokens, attention mask and labels, each (rows, longest)."""
    longest = max(len(row.tokens) for row in rows)
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    for index, row in enumerate(rows):
        length = len(row.tokens)
        tokens[index, :length] = torch.tensor(row.tokens)
        mask[index, :length] = 1
        start = row.lead if prompt_in_loss else row.prompt_length
        labels[index, start:length] = tokens[index, start:length]
    return tokens.to(base.device), mask.to(base.device), labels.to(base.device)


def token_losses(
    model: Any, tokens: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the nats of each next token, (rows, longest - 1), zero where the label is IGNORED."""
    logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2),
        labels[:, 1:],
        ignore_index=IGNORED,
        reduction="none",
    )


@dataclass(frozen=True)
class Batch:
    """Rows of tokens on the device. All are (rows, longest), except the mask of a packed batch.

    Attributes:
        tokens: Token ids, padded.
        mask: Attention mask; (rows, 1, longest, longest) in a packed batch.
        labels: Token ids that the loss counts, IGNORED elsewhere.
        positions: Position ids of a packed batch, else None.
        segments: Which pair each token of a packed batch belongs to, else None. See `packing.pack`.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor | None = None
    segments: torch.Tensor | None = None


def batch_losses(model: Any, batch: Batch, *, flat: bool) -> torch.Tensor:
    """Return losses as `token_losses` does. `flat` is faster, with other last bits."""
    if not flat and batch.positions is None:
        return token_losses(model, batch.tokens, batch.mask, batch.labels)
    extra = {} if batch.positions is None else {"position_ids": batch.positions}
    logits = model(
        input_ids=batch.tokens, attention_mask=batch.mask, use_cache=False, **extra
    ).logits
    targets = functional.pad(batch.labels[:, 1:], (0, 1), value=IGNORED)
    losses = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return losses.view(targets.shape)[:, :-1]


def counted(labels: torch.Tensor) -> torch.Tensor:
    """Return how many tokens of each row the loss counts, (rows,)."""
    return (labels[:, 1:] != IGNORED).sum(dim=1)
