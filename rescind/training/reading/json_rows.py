"""Rows of JSON files: one object a line, or one list of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rescind.core.json_text import parse_json
from rescind.training.reading.lines import MARK, MARK_WITHIN, MOST_CHARACTERS
from rescind.training.reading.rows import FileDamaged, Place, Problem, Row, Rows, shortened

_MOST_LIST = 2**30
"""Characters of a JSON list, which is held in memory as a whole; JSON Lines have no such limit."""
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},\n]', re.S)
_PLACE = re.compile(r" at line 1 column (\d+)$")


def json_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Rows:
    """Yield the objects of JSON Lines, or of one JSON list if the file begins with a bracket."""
    iterator = iter(lines)
    for number, line in iterator:
        if not line.strip():
            continue
        if line.lstrip().startswith("["):
            yield from _list_rows(path, number, line, iterator)
            return
        if line.strip() == "{":
            raise FileDamaged(
                Place(path, number),
                "the JSON object that begins here goes over several lines. Write one object a line, "
                "or all of them in one list",
            )
        yield _row(Place(path, number), line)
        break
    for number, line in iterator:
        if line.strip():
            yield _row(Place(path, number), line)


def parse_object(text: str) -> dict[str, Any]:
    """Return a JSON object whose keys all differ.

    Raises:
        ValueError: The text is something else.
    """
    value = parse_json(text)  # Bounds the depth, and refuses NaN and lone surrogates.
    if not isinstance(value, dict):
        raise ValueError("it is JSON, but not an object")
    _DISTINCT.decode(text)
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({key for key, _ in pairs}) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shortened(twice)} appears twice in one object")


_DISTINCT = json.JSONDecoder(object_pairs_hook=_distinct)


def _row(place: Place, text: str) -> Row | Problem:
    if "\0" in text:
        return Problem(str(place), "the line has the character NUL (U+0000). Remove it")
    if text.startswith(MARK):
        return Problem(str(place), MARK_WITHIN)
    try:
        return Row(place, parse_object(text))
    except (ValueError, RecursionError) as error:
        reason = _PLACE.sub(r" at column \1", str(error))
        return Problem(str(place), f"not a JSON object: {reason}")


def _list_rows(path: Path, number: int, first: str, rest: Iterable[tuple[int, str]]) -> Rows:
    """Yield the objects of a JSON list, each with the line that it begins in."""
    pieces, size = [first], len(first)
    for _, line in rest:
        pieces.append(line)
        size += len(line) + 1
        if size > _MOST_LIST:
            raise FileDamaged(
                Place(path, number),
                f"the JSON list has more than {_MOST_LIST:,} characters. Write one object a line",
            )
    for line_number, text in _elements(path, number, "\n".join(pieces)):
        yield _row(Place(path, line_number), text)


def _elements(path: Path, number: int, text: str) -> Iterator[tuple[int, str]]:
    """Yield the texts between the commas of a list, each with its line."""
    depth, begin, begun = 0, 0, number
    for token in _TOKEN.finditer(text):
        symbol = token.group()
        if symbol[0] == '"':
            continue
        if symbol == "\n":
            number += 1
        elif symbol in "[{":
            depth += 1
            if depth == 1:
                begin, begun = token.end(), number
        elif depth == 1 and symbol in ",]":
            element = text[begin : token.start()]
            if symbol == "," or element.strip() or text[:begin].rstrip().endswith(","):
                yield _begun(path, begun, element, last=symbol == "]")
            begin, begun = token.end(), number
            if symbol == "]":
                depth = 0
                break
        elif symbol in "]}":
            depth -= 1
    if depth or not begin:
        raise FileDamaged(Place(path, begun), "the JSON list that begins the file is not closed")
    if text[begin:].strip():
        raise FileDamaged(Place(path, number), "there is text after the JSON list")


def _begun(path: Path, number: int, element: str, *, last: bool) -> tuple[int, str]:
    stripped = element.lstrip()
    number += element[: len(element) - len(stripped)].count("\n")
    if not stripped:
        what = "a comma before the end of the list" if last else "two commas in a row"
        raise FileDamaged(Place(path, number), f"the JSON list has {what}. Remove one")
    if len(stripped) > MOST_CHARACTERS:
        raise FileDamaged(
            Place(path, number), f"the object has more than {MOST_CHARACTERS:,} characters"
        )
    return number, stripped
