"""Values of columns as text, and templates that join columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rescind.training.reading.rows import Place

_PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+|(.)", re.S)
ROW, FILE = "#row", "#file"
"""Fields of a template that each row has: its number, and the file's name without its endings."""


class ValueMissing(ValueError):
    """A column has no value in a row."""


@dataclass(frozen=True)
class Template:
    """A column, or columns and text that are joined.

    Attributes:
        source: As it was written.
        parts: Literal texts, and fields as (name, whether it may be missing).
    """

    source: str
    parts: tuple[str | tuple[str, bool], ...]

    @classmethod
    def parse(cls, source: str) -> Template:
        """Read the name of a column, or a template with fields in braces.

        "{name?}" is empty where the column has no value, and {{ and }} are braces.

        Raises:
            ValueError: A brace is not closed, or the template has no field.

        Example:
            >>> Template.parse("{first} {last}").parts
            (('first', False), ' ', ('last', False))
        """
        if "{" not in source and "}" not in source:
            if not source.strip():
                raise ValueError("the name of a column is empty: name it or leave it out")
            return cls(source, ((source, False),))
        parts: list[str | tuple[str, bool]] = []
        for match in _PART.finditer(source):
            if match[2] is not None:
                raise ValueError(
                    f"the template {source!r} has a brace that is not closed: write {{COLUMN}}, and "
                    "{{ or }} for a brace"
                )
            if match[1] is not None:
                parts.append((match[1].removesuffix("?"), match[1].endswith("?")))
            else:
                parts.append({"{{": "{", "}}": "}"}.get(match[0], match[0]))
        if not any(isinstance(part, tuple) for part in parts):
            raise ValueError(f"the template {source!r} names no column: write {{COLUMN}}")
        return cls(source, tuple(parts))

    @property
    def columns(self) -> list[str]:
        """The columns that it names."""
        return [part[0] for part in self.parts if isinstance(part, tuple)]

    def value(self, values: Mapping[str, Any], place: Place) -> Any:
        """Return the value of a single column as it is, or the text of a template.

        Raises:
            ValueError: A value is not text.
            ValueMissing: A column has no value.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], tuple):
            name, optional = self.parts[0]
            value = _look_up(values, name, place)
            return "" if value is None and optional else value
        return "".join(
            part if isinstance(part, str) else self._filled(values, place, *part)
            for part in self.parts
        )

    def text(self, values: Mapping[str, Any], place: Place) -> str:
        """Return the text in a row.

        Raises:
            ValueError: A value is not text.
            ValueMissing: It is missing or empty.
        """
        text = as_text(self.value(values, place), self.source)
        if not text.strip():
            raise ValueMissing(f"{self.source!r} is missing or empty")
        return text

    def _filled(self, values: Mapping[str, Any], place: Place, name: str, optional: bool) -> str:
        try:
            text = as_text(_look_up(values, name, place), name)
        except ValueMissing:
            text = ""
        if not text.strip() and not optional:
            raise ValueMissing(f"{name!r} is missing or empty")
        return text


def as_text(value: object, name: str) -> str:
    """Return a value as text: whole numbers in digits.

    Raises:
        ValueError: It is not text, or has the character NUL.
        ValueMissing: It is None.
    """
    if value is None:
        raise ValueMissing(f"{name!r} is missing or empty")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is {_kind(value)}, and must be text")
    if "\0" in value:
        raise ValueError(f"{name!r} has the character NUL (U+0000). Remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name!r} has a lone surrogate, half of a character") from error
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, Mapping):
        names = ", ".join(str(key) for key in list(value)[:5])
        return f"an object ({names}); name a value within it with a dot"
    if isinstance(value, bytes | bytearray):
        return "bytes"
    return "a list" if isinstance(value, Sequence) else f"of type {type(value).__name__}"


def _look_up(values: Mapping[str, Any], name: str, place: Place) -> Any:
    if name in values:
        return values[name]
    if name == ROW:
        return place.number
    if name == FILE:
        return place.file.name.split(".")[0]
    value: Any = values
    for step in name.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
