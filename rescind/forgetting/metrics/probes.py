"""Questions with their right answer, the same answer in other words, and wrong answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rescind.core.json_lines import demand_text, json_lines
from rescind.forgetting.metrics.values import MetricInput


class Question(Protocol):
    """The common interface of question-answer pairs: `training.Example` and Probe."""

    @property
    def question(self) -> str: ...

    @property
    def answer(self) -> str: ...


@dataclass(frozen=True)
class Probe:
    """`paraphrase`: the right answer in other words; the answer itself where there is none, as in TOFU's
    real authors and world facts. `wrong`: made-up answers in the paraphrase's words."""

    question: str
    answer: str
    paraphrase: str
    wrong: tuple[str, ...]


def read_probes(path: Path) -> list[Probe]:
    """A TOFU `*_perturbed` file: one JSON object a line with question, answer, perturbed_answer (a list
    of texts) and, where there is one, paraphrased_answer; other keys are left alone.

    Raises MetricInput with file and line.
    """
    found = [_probe(row, where) for where, row in json_lines(path, MetricInput)]
    if not found:
        raise MetricInput(f"{path}: holds no question")
    return found


def _probe(row: dict[str, Any], where: str) -> Probe:
    row.setdefault("paraphrased_answer", row.get("answer"))
    question, answer, paraphrase = (
        demand_text(row, key, where, MetricInput)
        for key in ("question", "answer", "paraphrased_answer")
    )
    wrong = row.get("perturbed_answer")
    if not isinstance(wrong, list) or not wrong or not all(isinstance(w, str) for w in wrong):
        raise MetricInput(f"{where}: 'perturbed_answer' is not a list of texts, one at least")
    return Probe(question, answer, paraphrase, tuple(wrong))
