"""Examples of a data source, each with its place, and everything that is wrong with the rest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rescind.core.errors import DataError
from rescind.training.data import Example
from rescind.training.reading.columns import Columns
from rescind.training.reading.options import ReadOptions
from rescind.training.reading.rows import FileDamaged, Place, Problem, Row, shortened
from rescind.training.reading.sources import open_source, source_rows

_LISTED = 10
"""Rows of a spelling that are listed; a whole file of them would fill the screen."""


@dataclass(frozen=True, slots=True)
class Located:
    """An example and the row that it comes from."""

    example: Example
    place: Place


@dataclass
class Reading:
    """A data source that was read.

    Attributes:
        examples: The examples, in the order of the rows.
        rows: How many rows have been read.
        problems: The rows and files that could not be.
        remarks: Sentences about what was not used, and about several spellings of a subject. They
            name rows and no person, so that they may be logged.
    """

    examples: list[Located] = field(default_factory=list)
    rows: int = 0
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_examples(
    path: Path,
    report: Callable[[str], None] = lambda _: None,
    options: ReadOptions | None = None,
) -> list[Example]:
    """Read the examples of a file or folder.

    Names of subjects that differ in their Unicode form or white space only are one subject.

    Args:
        path: A file of JSON Lines, JSON, CSV, Parquet, Arrow or text, or a folder of such files.
        report: Is called with each remark of the reading, which names rows and no person.
        options: The format and what the columns mean.

    Raises:
        DataError: A row or file cannot be read, or there is no example. The message has file and line.
    """
    reading = read_all(path, options, most_problems=1)
    for remark in reading.remarks:
        report(remark)
    return [located.example for located in demand(reading, path)]


def demand(reading: Reading, path: Path) -> list[Located]:
    """Return the examples of a reading.

    Raises:
        DataError: It has a problem, or no example.
    """
    if reading.problems:
        raise DataError(f"{reading.problems[0]}.")
    if not reading.examples:
        raise DataError(f"{path} has no example. Give at least one row.")
    return reading.examples


def read_all(path: Path, options: ReadOptions | None = None, most_problems: int = 1000) -> Reading:
    """Read the examples of a file or folder, and collect what is wrong.

    Args:
        path: As for `read_examples`.
        options: As for `read_examples`.
        most_problems: The reading ends at this number of problems.
    """
    options = options or ReadOptions()
    reading, columns, spellings = Reading(), Columns(options), _Spellings()
    try:
        source = open_source(path, options)
    except FileDamaged as error:
        reading.problems.append(error.problem)
        return reading
    reading.remarks += source.remarks
    for row in source_rows(source, options):
        reading.rows += 1
        problem = row if isinstance(row, Problem) else _add(reading, columns, spellings, row)
        if problem is not None:
            reading.problems.append(problem)
            if len(reading.problems) >= most_problems:
                break
    if columns.unused:
        unused = ", ".join(map(shortened, list(columns.unused)[:_LISTED]))
        reading.remarks.append(f"{path}: columns that are not used: {unused}")
    reading.remarks += spellings.sentences()
    return reading


def _add(reading: Reading, columns: Columns, spellings: _Spellings, row: Row) -> Problem | None:
    try:
        spelled, examples = columns.examples(row)
    except ValueError as error:
        return Problem(str(row.place), str(error).rstrip("."))
    spellings.add(examples[0].subject, spelled, row.place)
    reading.examples += [Located(example, row.place) for example in examples]
    return None


class _Spellings:
    """The rows of each spelling of each subject."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, list[Place]]] = {}

    def add(self, subject: str, spelled: str, place: Place) -> None:
        self._rows.setdefault(subject, {}).setdefault(spelled, []).append(place)

    def sentences(self) -> Iterator[str]:
        for rows in self._rows.values():
            first, *others = rows
            for other in others:
                differ = "white space" if _spaced(first) != _spaced(other) else "Unicode form"
                listed = ", ".join(map(str, rows[other][:_LISTED]))
                more = len(rows[other]) - _LISTED
                listed += f" and {more} more" if more > 0 else ""
                yield (
                    f"{listed}: the same subject as in {rows[first][0]}, spelled with another "
                    f"{differ}; all are one subject"
                )


def _spaced(name: str) -> list[int]:
    """Return the lengths of a name's runs between white space characters, in normal form C."""
    return [len(part) for part in re.split(r"\s", unicodedata.normalize("NFC", name))]
