"""Questions, alone or with the turns before them."""

from __future__ import annotations

from rescind.training.data import Example, Turn

Question = str | Example
"""A question alone, or an example, whose question is asked after its turns."""

_DOCUMENT = 200
"""Characters of a document that stand for a question, for a router: about as long as one."""


def question_text(question: Question) -> str:
    """Return the text of a question; of a document, its beginning."""
    if isinstance(question, str):
        return question
    return question.answer[:_DOCUMENT] if question.document else question.question


def question_turns(question: Question) -> tuple[Turn, ...]:
    """Return the turns before a question."""
    return () if isinstance(question, str) else question.turns
