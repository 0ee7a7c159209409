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
    """A question with right and wrong answers.

    Attributes:
        question: The question.
        answer: The right answer.
        paraphrase: The right answer in other words; the answer itself where there is no paraphrase,
            as in TOFU's real authors and world facts.
        wrong: Made-up answers in the paraphrase's words.
    """

    question: str
    answer: str
    paraphrase: str
    wrong: tuple[str, ...]


def read_probes(path: Path) -> list[Probe]:
    """Read a `*_perturbed` file of TOFU.

    Each line is a JSON object with question, answer, perturbed_answer (a list of texts) and
    optionally paraphrased_answer. Other keys are ignored.

    Raises:
        MetricInput: The file has no questions, or a line is not valid. The message has file and
            line.
    """
    probes = [_probe(row, where) for where, row in json_lines(path, MetricInput)]
    if not probes:
        raise MetricInput(f"{path}: the file has no questions.")
    return probes


def _probe(row: dict[str, Any], where: str) -> Probe:
    row.setdefault("paraphrased_answer", row.get("answer"))
    question, answer, paraphrase = (
        demand_text(row, key, where, MetricInput)
        for key in ("question", "answer", "paraphrased_answer")
    )
    wrong = row.get("perturbed_answer")
    if not isinstance(wrong, list) or not wrong or not all(isinstance(w, str) for w in wrong):
        raise MetricInput(f"{where}: 'perturbed_answer' is not a list of at least one text.")
    return Probe(question, answer, paraphrase, tuple(wrong))
