"""Questions that are kept from training, so that a run can be asked what it has learned."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rescind.core.errors import DataError
from rescind.training import Example, ReadOptions
from rescind.training.reading.examples import Located, demand, read_all
from rescind.training.reading.sources import has_data

_KEPT_SHARE = 10
"""One in this many of the questions that only one file has is kept."""
_LEAST_QUESTIONS = 5
"""A file with fewer questions of its own keeps none."""

RowsOf = Mapping[str, tuple[Example, ...]]


@dataclass(frozen=True)
class Kept:
    """Questions that no organization trains on.

    Attributes:
        rows_of: What each file is trained on, by name.
        kept: Questions for testing, by the name of their file; files without any are left out.
        located: Questions that were read from other files than those, with their places.
        remarks: Sentences about what is not asked.
    """

    rows_of: RowsOf
    kept: RowsOf
    located: tuple[Located, ...] = ()
    remarks: tuple[str, ...] = ()


def keep_a_tenth(rows_of: RowsOf, seed: int) -> Kept:
    """Keep a tenth of each file's questions, at least one of five.

    A question that a second file has, with the same answer, is trained on there and not kept.

    Args:
        rows_of: The examples of each file, by name.
        seed: Determines which are kept.
    """
    counts = Counter(_asked(row) for rows in rows_of.values() for row in rows)
    trained, kept = {}, {}
    for name, rows in rows_of.items():
        own = [row for row in rows if not row.document and counts[_asked(row)] == 1]
        count = max(1, len(own) // _KEPT_SHARE) if len(own) >= _LEAST_QUESTIONS else 0
        chosen = set(random.Random(f"rescind kept {seed} {name}").sample(own, count))
        trained[name] = tuple(row for row in rows if row not in chosen)
        if chosen:
            kept[name] = tuple(row for row in rows if row in chosen)
    return Kept(trained, kept)


def read_test(path: Path, options: ReadOptions | None, rows_of: RowsOf) -> Kept:
    """Read the questions of a test: a file, or a folder with a file or subfolder for each name.

    Args:
        path: The file or folder.
        options: How the files are read.
        rows_of: What each organization is trained on, by name. Its questions are not asked.

    Raises:
        DataError: Nothing can be read, or no question is left to ask.
    """
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    sources = [each for each in entries if each.name[0] != "." and has_data(each)]
    trained = {_asked(row) for rows in rows_of.values() for row in rows}
    kept: dict[str, tuple[Example, ...]] = {}
    located: list[Located] = []
    remarks: list[str] = []
    for source in sources:
        reading = read_all(source, options, most_problems=1)
        rows = [each for each in demand(reading, source) if not each.example.document]
        new = [each for each in rows if _asked(each.example) not in trained]
        remarks += reading.remarks
        if len(new) < len(rows):
            remarks.append(
                f"{source}: {len(rows) - len(new)} questions are in the training data too, and are "
                "not asked"
            )
        located += new
        if new:
            name = source.name.split(".")[0]
            rows_before = kept.get(name, ())
            kept[name] = tuple(dict.fromkeys([*rows_before, *(each.example for each in new)]))
    if not kept:
        raise DataError(
            f"--test {path} has no question to ask. Give a data file of questions with answers that "
            "are not in the training data, or a folder of such files."
        )
    return Kept(rows_of, kept, tuple(located), tuple(remarks))


def all_of(kept: RowsOf) -> list[Example]:
    """Return the questions of all files."""
    return [row for rows in kept.values() for row in rows]


def _asked(row: Example) -> Sequence[str]:
    return row.content
