"""How much of the right answers comes out: figures for each item, 0 nothing, 1 all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rescind.forgetting.attacks.errors import AttackSetting
from rescind.forgetting.metrics import text as rouge_metric
from rescind.training import Base, Example, normalize
from rescind.training.data import completion
from rescind.training.serving.respond import Respondent, answers, token_scores

Measure = Callable[[Respondent, Sequence[Example]], NDArray[np.float64]]


def room(base: Base, examples: Sequence[Example]) -> int:
    """Tokens of the longest right answer, end of text included."""
    texts = [completion(example.answer) for example in examples]
    return max(len(base.tokenizer.encode(text, add_special_tokens=False)) for text in texts) + 1


def rouge_recall(expected: Sequence[str], given: Sequence[str]) -> NDArray[np.float64]:
    """ROUGE-L recall of each text, (texts,), as the metric has it."""
    return rouge_metric.rouge_recall(given, expected, ["rougeL"])["rougeL"]


def same(expected: Sequence[str], given: Sequence[str]) -> NDArray[np.float64]:
    """1 where a text is the expected one but for case and white space, else 0."""
    pairs = zip(expected, given, strict=True)
    return np.array([float(normalize(right) == normalize(text)) for right, text in pairs])


def exact(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """1 for a greedy answer that is the right one, else 0, (examples,)."""
    return same([e.answer for e in examples], _greedy(respondent, examples))


def rouge(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """ROUGE-L recall of the greedy answers, (examples,)."""
    return rouge_recall([e.answer for e in examples], _greedy(respondent, examples))


def probability(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """exp of the mean log p of the right answer's tokens, (examples,) (TOFU, arXiv 2401.06121)."""
    return np.exp([-scores.loss for scores in token_scores(respondent, examples)])


def memorization(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
    """Share of the right answer's tokens that are the likeliest after those before, (examples,)."""
    return np.array([scores.right.mean() for scores in token_scores(respondent, examples)])


def _greedy(respondent: Respondent, examples: Sequence[Example]) -> list[str]:
    longest = room(respondent.base, examples)
    return answers(respondent, [e.question for e in examples], max_new_tokens=longest)


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {"exact": exact, "memorization": memorization, "probability": probability, "rouge": rouge}
)


def measure(name: str) -> Measure:
    """Raises AttackSetting for a name that is not in MEASURES."""
    if name not in MEASURES:
        raise AttackSetting(f"no measure {name!r}: choose one of {', '.join(MEASURES)}")
    return MEASURES[name]
