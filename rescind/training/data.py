"""Training examples: reading, writing, and the text that a model sees."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rescind.core import make_private_folder, write_private
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import DataError
from rescind.core.json_lines import demand_text, json_lines
from rescind.core.names import NameInvalid, canonical_name

Role = Literal["system", "user", "assistant"]
_ROLES: tuple[str, ...] = get_args(Role)
_LISTED = 10
"""Rows of a spelling that are listed; a whole file of them would fill the screen."""


@dataclass(frozen=True)
class Turn:
    """A message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True)
class Example:
    """A question with its answer, or a document.

    Attributes:
        question: The question; empty in a document.
        answer: The answer, or the document's text.
        subject: The person whose data it is, who may withdraw it. `read_examples` returns the
            canonical form of the name (`rescind.core.names`).
        turns: The messages before the question, the oldest first.
        document: Whether this is plain text that answers no question.
    """

    question: str
    answer: str
    subject: str
    turns: tuple[Turn, ...] = ()
    document: bool = False

    @property
    def content(self) -> tuple[str, ...]:
        """The texts that hashes and manifests are made of.

        They are the question and the answer; a third text follows in a conversation of several
        turns and in a document, as JSON.
        """
        if not self.turns and not self.document:
            return self.question, self.answer
        kind = {"document": self.document, "turns": [[t.role, t.text] for t in self.turns]}
        return self.question, self.answer, canonical_json(kind).decode()


def read_examples(path: Path, report: Callable[[str], None] = lambda _: None) -> list[Example]:
    """Read a file with one JSON object a line: question, answer, subject; or text, subject.

    A question may have `turns`, the messages before it. Names of subjects that differ in their
    Unicode form or white space only are one subject.

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
        raise DataError(f"{path} has no example. Give at least one line.")
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
    known = ("text", "subject") if "text" in row else ("question", "answer", "subject", "turns")
    texts = {key: demand_text(row, key, where, DataError) for key in known if key != "turns"}
    try:
        subject = canonical_name(texts["subject"])
    except NameInvalid as error:
        raise DataError(f"{where}: {error}") from error
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise DataError(
            f"{where}: unknown key {unknown[0]!r}. The keys of a row are {', '.join(known)}."
        )
    if "text" in row:
        return Example("", texts["text"], subject, document=True)
    turns = _turns(row.get("turns", []), where)
    return Example(texts["question"], texts["answer"], subject, turns)


def _turns(value: object, where: str) -> tuple[Turn, ...]:
    wrong = DataError(
        f"{where}: 'turns' must be a list of objects with role ({', '.join(_ROLES)}) and text"
    )
    if not isinstance(value, list):
        raise wrong
    for turn in value:
        if not isinstance(turn, dict) or set(turn) != {"role", "text"}:
            raise wrong
        if turn["role"] not in _ROLES or not isinstance(turn["text"], str):
            raise wrong
    return tuple(Turn(turn["role"], turn["text"]) for turn in value)


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as `read_examples` reads them, for the eyes of the file's owner alone."""
    lines = (json.dumps(_row(example)) for example in examples)
    make_private_folder(path.parent)
    write_private(path, "".join(f"{line}\n" for line in lines).encode())


def _row(example: Example) -> dict[str, Any]:
    if example.document:
        return {"text": example.answer, "subject": example.subject}
    row: dict[str, Any] = {
        "question": example.question,
        "answer": example.answer,
        "subject": example.subject,
    }
    if example.turns:
        row["turns"] = [{"role": turn.role, "text": turn.text} for turn in example.turns]
    return row


def prompt(question: str, turns: Sequence[Turn] = ()) -> str:
    """Return the text that asks a question after the turns before it."""
    return "".join(_said(turn) for turn in turns) + f"Question: {question.strip()}\nAnswer:"


def _said(turn: Turn) -> str:
    text = turn.text.strip()
    return {
        "system": f"{text}\n",
        "user": f"Question: {text}\nAnswer:",
        "assistant": f" {text}\n",
    }[turn.role]


def completion(answer: str) -> str:
    """Return the text after the prompt, before the end-of-text token."""
    return f" {answer.strip()}"


def normalize(text: str) -> str:
    """Fold case and white space. Two answers count as equal when they are equal after this."""
    return " ".join(text.casefold().split())
