"""Questions with a given start of the answer, with banned tokens, or with several answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rescind.forgetting.attacks.errors import AttackInput
from rescind.training import Base
from rescind.training.serving.generation import continuations
from rescind.training.serving.generation import decoding as greedy
from rescind.training.serving.respond import Respondent

_BATCH = 32


@dataclass(frozen=True)
class Asked:
    """A question to a model.

    Attributes:
        question: The text of the question.
        start: The start of the answer, which the model continues.
    """

    question: str
    start: str = ""


@dataclass(frozen=True)
class Decoding:
    """A way to generate answers.

    Attributes:
        beams: The number of answers of a beam search, the likeliest first; 1 is greedy.
        not_first: Tokens with which no answer may begin.
        never: Runs of tokens that no answer may have.
    """

    beams: int = 1
    not_first: tuple[int, ...] = ()
    never: tuple[tuple[int, ...], ...] = ()


def ask(
    respondent: Respondent,
    asked: Sequence[Asked],
    *,
    max_new_tokens: int,
    decoding: Decoding | None = None,
) -> list[list[str]]:
    """Ask a model and return the continuation of `start` in each answer, up to end of text.

    Args:
        respondent: The model.
        asked: The questions.
        max_new_tokens: The most tokens of a continuation.
        decoding: The way to generate answers; by default greedy.

    Returns:
        For each question, `decoding.beams` answers.

    Raises:
        AttackInput: A prompt is longer than the respondent's max_length.
    """
    base, decoding = respondent.base, decoding or Decoding()
    rows = [encode_asked(base, question) for question in asked]
    for row, question in zip(rows, asked, strict=True):
        if len(row) > respondent.max_length:
            raise AttackInput(
                f"The prompt {question.question[:60]!r} has {len(row)} tokens, more than "
                f"max_length {respondent.max_length}. Use fewer words."
            )
    replies: dict[int, list[str]] = {}
    for network, indices in respondent.groups([question.question for question in asked]):
        texts = _generate(base, network, [rows[i] for i in indices], max_new_tokens, decoding)
        replies.update(zip(indices, texts, strict=True))
    return [replies[index] for index in range(len(rows))]


def encode_asked(base: Base, asked: Asked) -> tuple[int, ...]:
    """Return the tokens of a question and of the given start of its answer."""
    return base.encoder.begun(asked.question, asked.start).tokens


def _generate(
    base: Base,
    network: Any,
    rows: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    decoding: Decoding,
) -> list[list[str]]:
    limits: dict[str, Any] = {}
    if decoding.not_first:
        limits["begin_suppress_tokens"] = list(decoding.not_first)
    if decoding.never:
        limits["bad_words_ids"] = [list(run) for run in decoding.never]
    settings = greedy(
        base,
        max_new_tokens,
        num_beams=decoding.beams,
        num_return_sequences=decoding.beams,
        **limits,
    )
    replies = continuations(base, network, rows, settings, batch=_BATCH)
    return [[base.encoder.reply(tokens) for tokens in each] for each in replies]
