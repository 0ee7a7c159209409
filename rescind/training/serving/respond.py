"""Measuring a model: its answers, and the likelihood of expected answers.

Everything that measures a model uses a Respondent, so that a single adapter and a set of blocks
behind a router are measured alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.training.data import Example
from rescind.training.engine.batches import (
    IGNORED,
    Encoded,
    batches_of,
    pad,
)
from rescind.training.model.base import Base
from rescind.training.serving.generation import generate
from rescind.training.text.question import Question

_BATCH = 64
"""Rows in one forward pass, which needs no gradients."""


class Respondent(Protocol):
    """A model that answers questions, by one network or by several."""

    @property
    def base(self) -> Base:
        """The base model."""
        ...

    @property
    def max_length(self) -> int:
        """The most tokens that a question with its answer may have."""
        ...

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        """Yield each network with the indices of the questions that it answers.

        A network is valid until the next one is asked for: they may share weights.
        """
        ...


@dataclass(frozen=True)
class OneNetwork:
    """A respondent with one network for every question."""

    base: Base
    network: Any
    max_length: int

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        """Yield the network with all questions."""
        yield self.network, list(range(len(questions)))


@dataclass(frozen=True)
class TokenScores:
    """Scores of one text's tokens, end of text included. Every array has shape (tokens,).

    Attributes:
        log_probs: Log p of each token, in nats.
        mean: The mean of log p over the vocabulary, under p.
        deviation: The standard deviation of log p over the vocabulary, under p.
        right: Whether the token is the most likely one.
    """

    log_probs: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def loss(self) -> float:
        """Negative log-likelihood in nats a token."""
        return -float(self.log_probs.mean())


def token_scores(
    respondent: Respondent, examples: Sequence[Example], *, prompt_too: bool = False
) -> list[TokenScores]:
    """Score each answer's tokens; with `prompt_too`, the prompt's too, except the first token.

    A document is scored whole, in pieces of at most the respondent's max_length.

    Raises:
        DataError: A pair is longer than the respondent's max_length.
    """
    base = respondent.base
    pieces = [base.encoder.rows(example, respondent.max_length) for example in examples]
    rows = {
        (index, part): row for index, parts in enumerate(pieces) for part, row in enumerate(parts)
    }
    result: dict[tuple[int, int], TokenScores] = {}
    for network, indices in respondent.groups(examples):
        keys = [(index, part) for index in indices for part in range(len(pieces[index]))]
        order = sorted(keys, key=lambda key: len(rows[key].tokens))
        for places in batches_of(base, [len(rows[key].tokens) for key in order], _BATCH):
            batch = [order[place] for place in places]
            scored = _score(base, network, [rows[key] for key in batch], prompt_too)
            result.update(zip(batch, scored, strict=True))
    return [
        _joined(result[index, part] for part in range(len(parts)))
        for index, parts in enumerate(pieces)
    ]


def _joined(scores: Iterable[TokenScores]) -> TokenScores:
    parts = list(scores)
    if len(parts) == 1:
        return parts[0]
    names = [each.name for each in fields(TokenScores)]
    return TokenScores(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@torch.inference_mode()
def _score(
    base: Base, network: Any, rows: Sequence[Encoded], prompt_too: bool
) -> list[TokenScores]:
    tokens, mask, labels = pad(base, rows, prompt_in_loss=prompt_too)
    logits = network(input_ids=tokens, attention_mask=mask, use_cache=False).logits[:, :-1]
    kept = labels[:, 1:] != IGNORED
    logits, wanted = logits[kept].float(), labels[:, 1:][kept]
    log_probs = logits.log_softmax(-1)
    probs = log_probs.exp()
    mean = (probs * log_probs).sum(-1)
    deviation = ((probs * log_probs.square()).sum(-1) - mean.square()).clamp_min(0).sqrt()
    own = log_probs.gather(-1, wanted.unsqueeze(-1)).squeeze(-1)
    right = logits.argmax(-1) == wanted
    cuts = kept.sum(-1).cumsum(0)[:-1].tolist()
    return [
        TokenScores(*parts)
        for parts in zip(
            *(np.split(each.double().cpu().numpy(), cuts) for each in (own, mean, deviation)),
            np.split(right.cpu().numpy(), cuts),
            strict=True,
        )
    ]


def answers(
    respondent: Respondent, questions: Sequence[Question], *, max_new_tokens: int = 96
) -> list[str]:
    """Return greedy answers. An Example gives its question the turns before it."""
    texts: dict[int, str] = {}
    for network, indices in respondent.groups(questions):
        replies = generate(
            respondent.base, network, [questions[index] for index in indices], max_new_tokens
        )
        texts.update(zip(indices, replies, strict=True))
    return [texts[index] for index in range(len(questions))]
