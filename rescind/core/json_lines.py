"""Files with one JSON object per line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rescind.core.errors import DataError
from rescind.core.json_text import parse_json


def json_lines(
    path: Path, error: type[DataError] = DataError
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with its position "FILE:LINE"; blank lines are skipped.

    Args:
        path: The file, in UTF-8.
        error: The error to raise.

    Raises:
        DataError: `error`, when the file cannot be read or a line is not a JSON object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path} is not UTF-8 text: see byte {problem.start}") from problem
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = parse_json(line)
        except ValueError as problem:
            raise error(f"{where}: the line is not a JSON object: {problem}") from problem
        if not isinstance(row, dict):
            raise error(f"{where}: the line is JSON, but not an object")
        yield where, row


def demand_text(row: dict[str, Any], key: str, where: str, error: type[DataError]) -> str:
    """Return the text under `key`; raise `error` when it is missing, empty or not text."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise error(f"{where}: {key!r} is missing, empty or not text")
    return value
