"""Question-answer pairs: reading, writing, and the text that a model sees."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core import make_private_folder, write_private
from rescind.core.errors import DataError
from rescind.core.json_lines import demand_text, json_lines
from rescind.core.names import NameInvalid, canonical_name

_KEYS = ("question", "answer", "subject")
_LISTED = 10
"""Rows of a spelling that are listed; a whole file of them would fill the screen."""


@dataclass(frozen=True)
class Example:
    """A question-answer pair. `subject` names the person whose data it is, who may withdraw it.

    `read_examples` returns the canonical form of the name (`rescind.core.names`).
    """

    question: str
    answer: str
    subject: str


def read_examples(path: Path, report: Callable[[str], None] = lambda _: None) -> list[Example]:
    """Read a file with one JSON object a line: question, answer, subject.

    Names of subjects that differ in their Unicode form or white space only are one subject.

    Args:
        path: The file.
        report: Is called with a sentence for each spelling of a subject after the first. It names
            rows and no person, so that it may be logged.

    Raises:
        DataError: A line is not such an object, or there is none. The message has file and line.
    """
    examples, spellings = [], _Spellings()
    for where, row in json_lines(path):
        example = _parse(row, where)
        spellings.add(example.subject, row["subject"], where)
        examples.append(example)
    if not examples:
        raise DataError(f"{path} has no question-answer pair. Give at least one line.")
    for sentence in spellings.sentences():
        report(sentence)
    return examples


class _Spellings:
    """The rows of each spelling of each subject."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[str]]] = {}

    def add(self, subject: str, spelled: str, where: str) -> None:
        self._rows.setdefault(subject, {}).setdefault(spelled, []).append(where)

    def sentences(self) -> Iterator[str]:
        for rows in self._rows.values():
            first, *others = rows
            for other in others:
                differ = "white space" if _spaced(first) != _spaced(other) else "Unicode form"
                listed = ", ".join(rows[other][:_LISTED])
                more = len(rows[other]) - _LISTED
                listed += f" and {more} more" if more > 0 else ""
                yield (
                    f"{listed}: the same subject as in {rows[first][0]}, spelled with another "
                    f"{differ}; all are one subject"
                )


def _spaced(name: str) -> list[int]:
    """Return the lengths of a name's runs between white space characters, in normal form C."""
    return [len(part) for part in re.split(r"\s", unicodedata.normalize("NFC", name))]


def _parse(row: dict[str, Any], where: str) -> Example:
    question, answer, subject = (demand_text(row, key, where, DataError) for key in _KEYS)
    try:
        example = Example(question, answer, canonical_name(subject))
    except NameInvalid as error:
        raise DataError(f"{where}: {error}") from error
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
