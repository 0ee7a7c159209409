"""Token batches of question-answer pairs, and the loss over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from rescind.core.errors import DataError
from rescind.training.data import Example, Turn, completion, prompt
from rescind.training.model.base import Base

IGNORED = -100
"""The label of a token that the loss does not count: cross_entropy's default `ignore_index`."""


LOGIT_BYTES = 2**28
"""The most bytes of logits in float32 of a forward pass without gradients; it holds a few such
tensors at a time."""


@dataclass(frozen=True)
class Encoded:
    """A tokenized pair.

    Attributes:
        tokens: Prompt, answer, end of text.
        prompt_length: How many of the first tokens are the prompt.
    """

    tokens: tuple[int, ...]
    prompt_length: int


def encode_prompt(base: Base, question: str, turns: Sequence[Turn] = ()) -> tuple[int, ...]:
    """Return the tokens of the prompt of a question, after the turns before it."""
    return tuple(base.tokenizer.encode(prompt(question, turns), add_special_tokens=False))


def encode_example(base: Base, example: Example, max_length: int) -> Encoded:
    """Tokenize an example. Nothing is cut off. A document has no prompt.

    Raises:
        DataError: The example is longer than `max_length` tokens.
    """
    head = () if example.document else encode_prompt(base, example.question, example.turns)
    text = example.answer if example.document else completion(example.answer)
    tail = base.tokenizer.encode(text, add_special_tokens=False)
    tokens = (*head, *tail, base.eos)
    if len(tokens) > max_length:
        raise DataError(
            f"The {'document' if example.document else 'pair'} "
            f"{(example.question or example.answer)[:60]!r} has {len(tokens)} tokens, and the "
            f"consortium's max_length is {max_length}. Shorten the text or agree on a larger "
            "max_length."
        )
    return Encoded(tokens, len(head))


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
        start = 0 if prompt_in_loss else row.prompt_length
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
