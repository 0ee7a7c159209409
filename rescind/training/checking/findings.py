"""Findings of a data check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["problem", "warning"]
_LISTED = 5


@dataclass(frozen=True)
class Finding:
    """Something about a row, or about several.

    Attributes:
        level: A problem stops a node from starting; a warning is for a person to decide about.
        kind: A stable name, such as "too-long".
        place: File and line of the first row; empty for the whole data.
        message: A sentence. It may hold text of the data, except in `too-long` and `unreadable`.
    """

    level: Level
    kind: str
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    def to_json(self) -> dict[str, str]:
        """Return the finding as a JSON object."""
        return asdict(self)


def listed(places: Iterable[object]) -> str:
    """Return the first places, and how many more there are."""
    texts = [str(place) for place in places]
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
