"""Rows of CSV files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rescind.training.reading.lines import MARK, MARK_WITHIN, MOST_CHARACTERS
from rescind.training.reading.rows import FileDamaged, Place, Problem, Row, Rows, shortened

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"sep=(.)")
"""A first line that Excel reads and some programs write."""


@dataclass(frozen=True)
class CsvFormat:
    """The details of a CSV file.

    Attributes:
        delimiter: Between two cells; by default the one that divides the header most.
        quote: Around a cell that has the delimiter, the quote or a line end in it; within it two
            stand for one.
        escape: Before a character of a cell that has no meaning there.
        header: Names of the columns, in a file whose first row is data.
    """

    delimiter: str | None = None
    quote: str = '"'
    escape: str | None = None
    header: tuple[str, ...] = ()


def csv_rows(path: Path, lines: Iterable[tuple[int, str]], given: CsvFormat) -> Rows:
    """Yield the rows below the header. Blank lines, and rows of empty cells, are skipped."""
    csv.field_size_limit(MOST_CHARACTERS)
    first, iterator = _first_line(iter(lines))
    if first is None:
        return
    number, text = first
    separator = _SEPARATOR.fullmatch(text.strip("\n"))
    if separator:
        first, iterator = _first_line(iterator)
        if first is None:
            return
        number, text = first
    delimiter = (
        given.delimiter or (separator and separator[1]) or _delimiter(path, number, text, given)
    )
    records = _Records(path, first, iterator, delimiter, given)
    header = list(given.header)
    for record in records:
        if isinstance(record, Problem):
            yield record
        elif not header:
            header = _header(*record)
        else:
            yield _row(*record, header)


def _first_line(
    lines: Iterator[tuple[int, str]],
) -> tuple[tuple[int, str] | None, Iterator[tuple[int, str]]]:
    for number, line in lines:
        if line.strip():
            return (number, line), lines
    return None, lines


class _Records:
    """The records of a file, each with the line that it begins in."""

    def __init__(
        self,
        path: Path,
        first: tuple[int, str],
        rest: Iterator[tuple[int, str]],
        delimiter: str,
        given: CsvFormat,
    ) -> None:
        self._path, self._rest = path, rest
        self._pending: tuple[int, str] | None = first
        self._number = first[0]
        self._begun: int | None = None
        self._reader = csv.reader(
            self._lines(),
            delimiter=delimiter,
            quotechar=given.quote,
            escapechar=given.escape,
            doublequote=True,
            strict=True,
        )

    def _lines(self) -> Iterator[str]:
        pending, self._pending = self._pending, None
        if pending is not None:
            yield self._noted(*pending)
        for number, line in self._rest:
            yield self._noted(number, line)

    def _noted(self, number: int, line: str) -> str:
        if self._begun is None:
            self._begun = number
        return line + "\n"

    def __iter__(self) -> Iterator[tuple[Place, list[str]] | Problem]:
        while True:
            self._begun = None
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Problem(str(Place(self._path, self._begun or 1)), _explained(str(error)))
                continue
            if any(cell.strip() for cell in cells):
                yield Place(self._path, self._begun or 1), cells


def _explained(error: str) -> str:
    if "unexpected end of data" in error:
        return "a quote is opened in the row that begins here and is never closed"
    if "field larger" in error:
        return (
            f"a cell has more than {MOST_CHARACTERS:,} characters. Perhaps a quote is opened in the "
            "row that begins here and is not closed"
        )
    if "expected after" in error:
        return (
            "there is text after the quote that ends a cell. Write a quote within a cell twice, or "
            "set escape in [data]"
        )
    return f"not CSV: {error}"


def _delimiter(path: Path, number: int, header: str, given: CsvFormat) -> str:
    """Return the delimiter that divides the header into the most cells."""
    quote = re.escape(given.quote)
    bare = re.sub(f"{quote}[^{quote}]*{quote}", "", header)
    counts = {delimiter: bare.count(delimiter) for delimiter in _DELIMITERS}
    if path.name.removesuffix(".gz").endswith((".tsv", ".tab")) and counts["\t"]:
        return "\t"
    most = max(counts.values())
    likely = [delimiter for delimiter, count in counts.items() if count == most]
    if most and len(likely) > 1:
        raise FileDamaged(
            Place(path, number),
            f"the header could be divided at {' or at '.join(map(repr, likely))}. Set delimiter in "
            "[data]",
        )
    return likely[0]


def _header(place: Place, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise FileDamaged(
            place,
            f"two columns have the name {shortened(twice[0])}. Rename one, or name all columns with header "
            "in [data]",
        )
    return names


def _row(place: Place, cells: Sequence[str], header: Sequence[str]) -> Row | Problem:
    if cells[0].startswith(MARK):
        return Problem(str(place), MARK_WITHIN)
    if [cell.strip() for cell in cells[: len(header)]] == list(header):
        return Problem(
            str(place), "the row repeats the header, as if files were joined here. Remove it"
        )
    extra = cells[len(header) :]
    if any(cell.strip() for cell in extra) or len(cells) < len(header):
        return Problem(
            str(place),
            f"the row has {len(cells)} cells, and the header has {len(header)}. Perhaps a quote "
            "around a cell is missing",
        )
    values = zip(header, cells, strict=False)
    return Row(place, {name: value if value.strip() else None for name, value in values if name})
