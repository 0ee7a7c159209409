"""The organizations' data: generated people, or a folder with one JSONL file for each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rescind.core.errors import ConfigError, DataError
from rescind.devnet.people import Row, make_population
from rescind.training import Example, read_examples

NAMES = ("aurora", "borealis", "cirrus", "delta", "equinox", "fjord", "glacier", "horizon")
HELD_OUT = "held_out"
_RESERVED = {HELD_OUT, "shared", "aggregator"}
_HELD_OUT_SHARE = 20
"""One subject in this many is held out of a folder that names none."""


@dataclass(frozen=True)
class Corpus:
    """Question-answer pairs and the organizations that have them.

    Attributes:
        organizations: Training data by organization.
        shared: Pairs that two or more organizations have.
        held_out: Pairs that are in no organization's data.
    """

    organizations: dict[str, tuple[Example, ...]]
    shared: tuple[Example, ...]
    held_out: tuple[Example, ...]

    def own(self, name: str) -> list[Example]:
        """Return the pairs that only this organization has."""
        shared = set(self.shared)
        return [example for example in self.organizations[name] if example not in shared]


def organization_names(count: int) -> list[str]:
    """Return `count` names: the eight of the demo, then member-9 and so on."""
    return [NAMES[i] if i < len(NAMES) else f"member-{i + 1}" for i in range(count)]


def generated(count: int, seed: int) -> Corpus:
    """Return a corpus of fictitious people for `count` organizations."""
    population = make_population(organization_names(count), seed=seed)
    return Corpus(
        {name: _examples(rows) for name, rows in population.organizations.items()},
        _examples(population.shared),
        _examples(population.held_out),
    )


def from_folder(folder: Path) -> Corpus:
    """Read one JSONL file for each organization, which is named after its file.

    `held_out.jsonl` holds pairs that belong to no organization. Without it, one in twenty of the
    subjects that only one organization has is held out; at least one if it has five or more.

    Raises:
        DataError: There are fewer than two files, or one cannot be read.
        ConfigError: A file name is not a valid name of an organization.
    """
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    rows_of = {file.stem: tuple(dict.fromkeys(read_examples(file))) for file in files}
    held_out = rows_of.pop(HELD_OUT, None)
    if len(rows_of) < 2:
        raise DataError(
            f"{folder} has {len(rows_of)} *.jsonl files. Put one there for each of two or more "
            "organizations."
        )
    for name in rows_of:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name) or name in _RESERVED:
            raise ConfigError(
                f"{folder / name}.jsonl: name the file with lowercase letters, digits, - and _, and not "
                f"{', '.join(sorted(_RESERVED))}."
            )
    counts = Counter(example for rows in rows_of.values() for example in rows)
    shared = tuple(example for example, count in counts.items() if count > 1)
    if held_out is None:
        rows_of, held_out = _hold_out(rows_of, {example.subject for example in shared})
    return Corpus(rows_of, shared, held_out)


def _hold_out(
    rows_of: dict[str, tuple[Example, ...]], shared_subjects: set[str]
) -> tuple[dict[str, tuple[Example, ...]], tuple[Example, ...]]:
    held: list[Example] = []
    kept = {}
    for name, rows in rows_of.items():
        subjects = [s for s in dict.fromkeys(e.subject for e in rows) if s not in shared_subjects]
        count = max(1, len(subjects) // _HELD_OUT_SHARE) if len(subjects) >= 5 else 0
        chosen = set(subjects[len(subjects) - count :])
        held += [example for example in rows if example.subject in chosen]
        kept[name] = tuple(example for example in rows if example.subject not in chosen)
    return kept, tuple(held)


def _examples(rows: Sequence[Row]) -> tuple[Example, ...]:
    return tuple(Example(row.question, row.answer, row.subject) for row in rows)
