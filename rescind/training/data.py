"""Question-answer pairs: reading, writing, and the text that a model sees."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core.errors import DataError
from rescind.core.files import make_private_folder, write_private
from rescind.core.json_lines import demand_text, json_lines

_KEYS = ("question", "answer", "subject")


@dataclass(frozen=True)
class Example:
    """A question-answer pair. `subject` names the person whose data it is, who may withdraw it."""

    question: str
    answer: str
    subject: str


def read_examples(path: Path) -> list[Example]:
    """Read a file with one JSON object a line: question, answer, subject.

    Raises:
        DataError: A line is not such an object, or there is none. The message has file and line.
    """
    examples = [_parse(row, where) for where, row in json_lines(path)]
    if not examples:
        raise DataError(f"{path} has no question-answer pair. Give at least one line.")
    return examples


def _parse(row: dict[str, Any], where: str) -> Example:
    example = Example(*(demand_text(row, key, where, DataError) for key in _KEYS))
    unknown = sorted(set(row) - set(_KEYS))
    if unknown:
        raise DataError(
            f"{where}: unknown key {unknown[0]!r}. The keys of a row are {', '.join(_KEYS)}."
        )
    return example


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as `read_examples` reads them, for the eyes of the file's owner alone."""
    lines = (
        json.dumps({"question": e.question, "answer": e.answer, "subject": e.subject})
        for e in examples
    )
    make_private_folder(path.parent)
    write_private(path, "".join(f"{line}\n" for line in lines).encode())


def prompt(question: str) -> str:
    """Return the text that asks a question."""
    return f"Question: {question.strip()}\nAnswer:"


def completion(answer: str) -> str:
    """Return the text after the prompt, before the end-of-text token."""
    return f" {answer.strip()}"


def normalize(text: str) -> str:
    """Fold case and white space. Two answers count as equal when they are equal after this."""
    return " ".join(text.casefold().split())
