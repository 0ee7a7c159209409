"""Questions with their right answer, the same answer in other words, and wrong answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unlearning.metrics.values import MetricInput


class Question(Protocol):
    """What every question-answer pair has, a `training.Example` and a Probe alike."""

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
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MetricInput(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MetricInput(f"{path}: not UTF-8 text at byte {error.start}") from error
    found = [
        _probe(line, f"{path}:{number}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not found:
        raise MetricInput(f"{path}: holds no question")
    return found


def _probe(line: str, where: str) -> Probe:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise MetricInput(f"{where}: not a JSON object: {error.msg}") from error
    if not isinstance(row, dict):
        raise MetricInput(f"{where}: expected a JSON object")
    row.setdefault("paraphrased_answer", row.get("answer"))
    for key in ("question", "answer", "paraphrased_answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise MetricInput(f"{where}: {key!r} is missing, empty or not text")
    wrong = row.get("perturbed_answer")
    if not isinstance(wrong, list) or not wrong or not all(isinstance(w, str) for w in wrong):
        raise MetricInput(f"{where}: 'perturbed_answer' is not a list of texts, one at least")
    return Probe(row["question"], row["answer"], row["paraphrased_answer"], tuple(wrong))
