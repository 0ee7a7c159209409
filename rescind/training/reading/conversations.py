"""Conversations as lists of messages, and the examples in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rescind.core.json_text import parse_json
from rescind.training.data import Example, Role, Turn
from rescind.training.reading.templates import ValueMissing, as_text

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_MOST_MESSAGES = 4096
"""More are a damaged file: each answer keeps all messages before it."""


def conversation(value: object, name: str) -> tuple[Turn, ...]:
    """Return the messages of a conversation.

    A message is an object with role and content (or from and value, or role and text). A list in
    JSON, as CSV files hold it, is read too. Empty messages of the system are left out.

    Raises:
        ValueError: It is not a list of such messages, or a role is unknown.
        ValueMissing: It is None.
    """
    if value is None:
        raise ValueMissing(f"{name!r} is missing or empty")
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(
                f"{name!r} is text, and must be a list of messages ({error})"
            ) from error
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name!r} must be a list of messages, each with role and content")
    if len(value) > _MOST_MESSAGES:
        raise ValueError(
            f"{name!r} has {len(value):,} messages; at most {_MOST_MESSAGES:,} are read"
        )
    turns = [_turn(message, f"{name}.{index}") for index, message in enumerate(value)]
    return tuple(turn for turn in turns if turn.text.strip() or turn.role != "system")


def examples_of(turns: tuple[Turn, ...], name: str, subject: str) -> list[Example]:
    """Return an example for each answer of a conversation, with all that was said before it.

    Raises:
        ValueError: The conversation ends with a question, or an answer follows no question.
    """
    if not turns or turns[-1].role != "assistant":
        last = turns[-1].role if turns else "system"
        raise ValueError(
            f"{name!r} ends with a message of the role {last!r}, so its answer is missing. End it "
            "with one of the assistant"
        )
    examples = []
    for index, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        if index == 0 or turns[index - 1].role != "user":
            raise ValueError(
                f"{name}.{index} is of the assistant, and no message of the user comes just before it"
            )
        question = turns[index - 1].text
        examples.append(Example(question, turn.text, subject, turns[: index - 1]))
    return examples


def _turn(message: object, name: str) -> Turn:
    if not isinstance(message, Mapping):
        raise ValueError(f"{name!r} must be a message with role and content")
    role = message.get("role", message.get("from"))
    if not isinstance(role, str) or role not in _ROLES:
        raise ValueError(
            f"{name!r} has the role {_short(role)}. Known roles: {', '.join(sorted(_ROLES))}"
        )
    key = next((k for k in ("content", "value", "text") if message.get(k) is not None), "content")
    text = _text(message.get(key), f"{name}.{key}")
    if not text.strip() and _ROLES[role] != "system":
        raise ValueMissing(f"{name}.{key} is empty")
    return Turn(_ROLES[role], text)


def _text(value: object, name: str) -> str:
    """Return the text of a message: text, or a list of parts that are text."""
    if not isinstance(value, list):
        return as_text(value, name)
    texts = []
    for index, part in enumerate(value):
        if not isinstance(part, Mapping) or part.get("type", "text") != "text":
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise ValueError(f"{name}.{index} is {_short(kind)}, and only text can be trained on")
        texts.append(as_text(part.get("text"), f"{name}.{index}.text"))
    return "".join(texts)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
