"""Training examples: writing them, and the text that a model sees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rescind.core import make_private_folder, write_private
from rescind.core.canonical_json import canonical_json

Role = Literal["system", "user", "assistant"]


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
