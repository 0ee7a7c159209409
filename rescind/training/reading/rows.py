"""Rows of a data file, and the problems that a row or a file has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a text file, or a row of a binary one.

    Example:
        >>> str(Place(Path("a.csv"), 3)), str(Place(Path("a.parquet"), 3, "row"))
        ('a.csv:3', 'a.parquet: row 3')
    """

    file: Path
    number: int
    unit: str = "line"

    def __str__(self) -> str:
        if self.unit == "line":
            return f"{self.file}:{self.number}"
        return f"{self.file}: {self.unit} {self.number}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its file has it. None stands for a value that is missing."""

    place: Place
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be read, or a file from that place on."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


Rows = Iterator[Row | Problem]

_SHOWN = 60
"""Characters of a name that are shown; a damaged file can have one of a megabyte."""


def shortened(name: str) -> str:
    """Return a name of a column in quotes, without the rest of a very long one.

    Example:
        >>> shortened("answer")
        "'answer'"
    """
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...")


class FileDamaged(Exception):
    """A file cannot be read any further. The reader of the format turns it into a problem."""

    def __init__(self, place: Place | Path, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.problem = Problem(str(place), reason)
