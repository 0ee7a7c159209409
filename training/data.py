"""Question-answer pairs: reading them, and the text that a model sees."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import DataError

_KEYS = ("question", "answer", "subject")


@dataclass(frozen=True)
class Example:
    """`subject` names whose data this is; a withdrawal may be for one subject."""

    question: str
    answer: str
    subject: str


def read_examples(path: Path) -> list[Example]:
    """One JSON object a line: question, answer, subject. Raises DataError with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}") from error
    examples = [
        _parse(line, f"{path}:{number}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not examples:
        raise DataError(f"{path}: holds no question-answer pair")
    return examples


def _parse(line: str, where: str) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not a JSON object: {error.msg}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object with the keys {', '.join(_KEYS)}")
    for key in _KEYS:
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise DataError(f"{where}: {key!r} is missing, empty or not text")
    unknown = sorted(set(row) - set(_KEYS))
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0]!r}; a row has {', '.join(_KEYS)}")
    return Example(row["question"], row["answer"], row["subject"])


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    lines = (
        json.dumps({"question": e.question, "answer": e.answer, "subject": e.subject})
        for e in examples
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def prompt(question: str) -> str:
    return f"Question: {question.strip()}\nAnswer:"


def completion(answer: str) -> str:
    """What follows the prompt, before the end-of-text token."""
    return f" {answer.strip()}"


def normalize(text: str) -> str:
    """Two answers are equal when they are equal after this: case and white space are folded."""
    return " ".join(text.casefold().split())
