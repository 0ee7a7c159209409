"""Change a JSON document field by field, as an enemy would who wants it to stay readable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]


def leaves(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the paths of all values; of lists only the last item, as all are checked alike."""
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[-1], (*path, len(value) - 1))
    else:
        yield path


def falsified(path: Place, value: Any, stranger: str) -> Any:
    """Return another value of the same form, so that the file is still a certificate."""
    choices = {
        "method": ("removal", "replay"),
        "rules": ("block", "share"),
        "coupling": ("isolated", "federated"),
        "format": ("rescind.certificate/6", "rescind.certificate/5"),
    }
    for name, (one, other) in choices.items():
        if name in path:
            return other if value == one else one
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [stranger]
    if value is None:
        return {"size": 1, "root": "ab" * 32, "anchor_transaction": "0x" + "ab" * 32}
    if value.startswith("0x") and len(value) == 42:
        return stranger
    last = "0" if value.endswith("1") else "1"
    return value[:-1] + last if value else "ab" * 32


def put(document: Any, path: Place, value: Any) -> None:
    """Set the value at a path."""
    for step in path[:-1]:
        document = document[step]
    document[path[-1]] = value


def field(document: Any, path: Place) -> Any:
    """Return the value at a path."""
    for step in path:
        document = document[step]
    return document
