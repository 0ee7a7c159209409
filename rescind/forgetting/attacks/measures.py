"""Scores of how much of the right answers a model gives: 0 is nothing, 1 is everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rescind.forgetting.attacks.errors import AttackSetting
from rescind.forgetting.metrics import text as rouge_metric
from rescind.training import Base, Example, normalize
from rescind.training.serving.respond import Respondent, answers, token_scores

Measure = Callable[[Respondent, Sequence[Example]], NDArray[np.float64]]


def room(base: Base, examples: Sequence[Example]) -> int:
    """Return the number of tokens of the longest right answer, its end included."""
    rows = [base.encoder.example(example) for example in examples]
    return max(len(row.tokens) - row.prompt_length for row in rows)


def rouge_recall(expected: Sequence[str], given: Sequence[str]) -> NDArray[np.float64]:
    """Return ROUGE-L recall of each text, (texts,), as the metric computes it."""
    return rouge_metric.rouge_recall(given, expected, ["rougeL"])["rougeL"]


def same(expected: Sequence[str], given: Sequence[str]) -> NDArray[np.float64]:
    """Return 1 for each text that is the expected one up to case and white space, else 0."""
    pairs = zip(expected, given, strict=True)
    return np.array([float(normalize(right) == normalize(text)) for right, text in pairs])


def exact(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return 1 for each greedy answer that is the right one, else 0, (examples,)."""
    return same([e.answer for e in examples], _greedy(respondent, examples))


def rouge(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return ROUGE-L recall of the greedy answers, (examples,)."""
    return rouge_recall([e.answer for e in examples], _greedy(respondent, examples))


def probability(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return exp of the mean log p of the right answer's tokens, (examples,).

    Source: TOFU, arXiv 2401.06121.
    """
    return np.exp([-scores.loss for scores in token_scores(respondent, examples)])


def memorization(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return the share of the right answer's tokens that are the likeliest, (examples,).

    Each token is compared given the right tokens before it.
    """
    return np.array([scores.right.mean() for scores in token_scores(respondent, examples)])


def _greedy(respondent: Respondent, examples: Sequence[Example]) -> list[str]:
    longest = room(respondent.base, examples)
    return answers(respondent, examples, max_new_tokens=longest)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {"exact": exact, "memorization": memorization, "probability": probability, "rouge": rouge}
)


def measure(name: str) -> Measure:
    """Return the measure of that name.

    Raises:
        AttackSetting: The name is not in MEASURES.
    """
    if name not in MEASURES:
        raise AttackSetting(f"{name!r} is not a measure. Known measures: {', '.join(MEASURES)}.")
    return MEASURES[name]
