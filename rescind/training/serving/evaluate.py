"""Evaluation: the share of right answers, and their likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core import SHARED
from rescind.core.errors import DataError
from rescind.training.data import Example, normalize
from rescind.training.engine.batches import encode_example
from rescind.training.model.lora import LoraModel
from rescind.training.model.out_of_memory import memory_explained
from rescind.training.serving.serve import Assistant, adapter_name, answer_losses


@dataclass(frozen=True)
class Item:
    """One question with the expected answer, the given one and the block or head that answered.

    Attributes:
        organization: Lowercase address of the block; None for the base or shared model and a head.
        task: The task whose head answered; None if no head did.
    """

    question: str
    expected: str
    answer: str
    right: bool
    organization: str | None
    task: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a model on examples.

    Attributes:
        score: The share of answers that are right as a whole, 0..1.
        right: Right answers.
        total: Questions.
        perplexity: Of the expected answers' tokens, where the language model answered. A head gives
            no likelihood of tokens, so its questions do not count; None if heads answered all.
        items: One for each question.
    """

    score: float
    right: int
    total: int
    perplexity: float | None
    items: tuple[Item, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the evaluation as JSON."""
        return asdict(self)


@memory_explained("evaluating")
def evaluate(assistant: Assistant, examples: Sequence[Example]) -> Evaluation:
    """Compare greedy answers with the expected ones, after folding case and white space.

    Raises:
        DataError: An example is a document, which has no answer to compare, or is too long.
    """
    parameters = assistant.parameters
    if document := next((e for e in examples if e.document), None):
        raise DataError(
            f"{document.answer[:60]!r} is a document, which has no answer to compare. Evaluate on "
            "questions with answers."
        )
    rows = [
        encode_example(assistant.model.base, e, parameters.training.max_length) for e in examples
    ]
    longest = max(len(row.tokens) - row.prompt_length for row in rows)
    answers = assistant.ask_many(examples, max_new_tokens=longest)
    items = tuple(
        Item(
            question=e.question,
            expected=e.answer,
            answer=a.text,
            right=normalize(a.text) == normalize(e.answer),
            organization=a.organization,
            task=a.task,
        )
        for e, a in zip(examples, answers, strict=True)
    )
    nats, tokens = 0.0, 0
    # The router's choices are known from the answers: with a real base, asking again takes minutes.
    unnamed = SHARED if assistant.split or assistant.blocks == (SHARED,) else None
    written = [(r, a.organization) for r, a in zip(rows, answers, strict=True) if a.task is None]
    routes = [organization or unnamed for _, organization in written]
    for chosen in {*routes}:
        picked = [row for (row, _), route in zip(written, routes, strict=True) if route == chosen]
        network = assistant.model.use(adapter_name(chosen) if chosen else None)
        losses, counts = answer_losses(assistant.model.base, network, picked)
        nats, tokens = nats + float(losses.sum()), tokens + int(counts.sum())
    right = sum(item.right for item in items)
    return Evaluation(
        score=right / len(items),
        right=right,
        total=len(items),
        perplexity=float(np.exp(nats / tokens)) if tokens else None,
        items=items,
    )


@memory_explained("scoring")
def answer_loss_per_example(
    model: LoraModel, adapter: str | None, examples: Sequence[Example], max_length: int
) -> NDArray[np.float64]:
    """Return each expected answer's nats a token under an adapter or the bare base, (examples,).

    A document's are those of all its pieces.
    """
    pieces = [model.base.encoder.rows(example, max_length) for example in examples]
    rows = [row for parts in pieces for row in parts]
    losses, counts = answer_losses(model.base, model.use(adapter), rows)
    starts = np.cumsum([0, *(len(parts) for parts in pieces[:-1])])
    return np.add.reduceat(losses, starts) / np.add.reduceat(counts, starts)
