"""What each organization of a run trains on, and the questions that the run is judged by."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import ConfigError, DataError
from devnet.people import Row, make_population

NAMES = (
    "aurora",
    "borealis",
    "cirrus",
    "delta",
    "ember",
    "fjord",
    "glacier",
    "harbor",
    "indigo",
    "juniper",
    "kelvin",
    "lumen",
    "meridian",
    "nimbus",
    "orchid",
    "polaris",
)
"""Names of the generated organizations, in order."""

SHARED, HELD_OUT = "shared", "held_out"
_RESERVED = (SHARED, HELD_OUT)
_HELD_OUT_SHARE = 10
_MOST_JUDGED = 200


@dataclass(frozen=True)
class Dataset:
    """`private`: what each organization trains on. `judged`: organization name, `shared` and
    `held_out` -> the questions whose right answers make that score.

    An organization's score is over the rows that nobody else has; `shared` over those that two
    or more have; `held_out` over rows that nobody trains on.
    """

    private: Mapping[str, tuple[Row, ...]]
    judged: Mapping[str, tuple[Row, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.private)


def generated(names: Sequence[str], seed: int) -> Dataset:
    """The fictitious people of devnet.people."""
    population = make_population(names, seed=seed)
    return _judged(population.organizations, population.held_out, seed)


def from_folder(folder: Path, seed: int) -> Dataset:
    """One `<organization>.jsonl` for each organization, and an optional `held_out.jsonl`.

    Without `held_out.jsonl`, one subject in ten of each organization (at least one, of those that
    nobody else has, if it has three or more) is kept from training, drawn by `seed`. Raises
    DataError with file and line, ConfigError for a folder or name that cannot be used.
    """
    files = _files(folder)
    rows = {path.stem: _read(path) for path in files}
    held_out_file = folder / f"{HELD_OUT}.jsonl"
    if held_out_file.is_file():
        held_out = _read(held_out_file)
        seen = {row for own in rows.values() for row in own}
        both = next((row for row in held_out if row in seen), None)
        if both is not None:
            raise DataError(
                f"{held_out_file}: the row {both.question!r} is also in an organization's file; "
                "held-out rows must be in none"
            )
        return _judged(rows, held_out, seed)
    kept, held_out = _hold_out(rows, seed)
    return _judged(kept, held_out, seed)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"--data {folder}: no such folder")
    files = sorted(path for path in folder.glob("*.jsonl") if path.stem != HELD_OUT)
    if len(files) < 2:
        raise ConfigError(
            f"--data {folder}: found {len(files)} organizations; a consortium needs at least two, "
            "each as one file NAME.jsonl"
        )
    for path in files:
        check_name(path.stem)
    return files


def check_name(name: str) -> None:
    """Raises ConfigError unless `name` can be a folder, a certificate's name and a key in JSON."""
    plain = name.replace("-", "").replace("_", "")
    if name in _RESERVED or len(name) > 32 or not (plain.isascii() and plain.isalnum()):
        raise ConfigError(
            f"{name!r} cannot be an organization's name: use up to 32 letters, digits, - and _, "
            f"and neither {SHARED!r} nor {HELD_OUT!r}"
        )


def _read(path: Path) -> tuple[Row, ...]:
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(_parse(line, f"{path}:{number}"))
    if not rows:
        raise DataError(f"{path}: holds no question-answer pair")
    return tuple(rows)


def _parse(line: str, where: str) -> Row:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not a JSON object: {error.msg}") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected a JSON object with question, answer and subject")
    keys = ("question", "answer", "subject")
    for key in keys:
        if not isinstance(found.get(key), str) or not found[key].strip():
            raise DataError(f"{where}: {key!r} is missing, empty or not text")
    unknown = sorted(set(found) - set(keys))
    if unknown:
        raise DataError(f"{where}: unknown key {unknown[0]!r}; a row has {', '.join(keys)}")
    return Row(found["question"], found["answer"], found["subject"])


def _holders(rows: Mapping[str, Sequence[Row]]) -> dict[Row, set[str]]:
    holders: dict[Row, set[str]] = {}
    for name, own in rows.items():
        for row in own:
            holders.setdefault(row, set()).add(name)
    return holders


def _hold_out(
    rows: Mapping[str, tuple[Row, ...]], seed: int
) -> tuple[dict[str, tuple[Row, ...]], tuple[Row, ...]]:
    subjects: dict[str, set[str]] = {}
    for name, own in rows.items():
        for row in own:
            subjects.setdefault(row.subject, set()).add(name)
    chosen: set[str] = set()
    for name in sorted(rows):
        alone = sorted(subject for subject, holders in subjects.items() if holders == {name})
        if len(alone) >= 3:
            source = random.Random(f"rescind held out {seed} {name}")
            chosen |= set(source.sample(alone, max(1, len(alone) // _HELD_OUT_SHARE)))
    if not chosen:
        raise DataError(
            "no organization has three subjects of its own, so none can be held out: add rows, or "
            f"a file {HELD_OUT}.jsonl"
        )
    kept = {
        name: tuple(row for row in own if row.subject not in chosen) for name, own in rows.items()
    }
    held_out = tuple(row for own in rows.values() for row in own if row.subject in chosen)
    return kept, held_out


def _judged(
    private: Mapping[str, tuple[Row, ...]], held_out: tuple[Row, ...], seed: int
) -> Dataset:
    holders = _holders(private)
    judged = {
        name: tuple(row for row in dict.fromkeys(own) if holders[row] == {name})
        for name, own in private.items()
    }
    for name, own in judged.items():
        if not own:
            raise DataError(
                f"every row of {name} is also another organization's, so nothing shows what a "
                "withdrawal removes: give it some rows of its own"
            )
    shared = tuple(row for row, names in holders.items() if len(names) > 1)
    if shared:
        judged[SHARED] = shared
    judged[HELD_OUT] = tuple(dict.fromkeys(held_out))
    return Dataset(
        private=dict(private),
        judged={name: _at_most(rows, f"{seed} {name}") for name, rows in judged.items()},
    )


def _at_most(rows: tuple[Row, ...], salt: str) -> tuple[Row, ...]:
    """A seeded sample when there are very many questions, so that a run ends in minutes."""
    if len(rows) <= _MOST_JUDGED:
        return rows
    places = random.Random(f"rescind judged {salt}").sample(range(len(rows)), _MOST_JUDGED)
    return tuple(rows[place] for place in sorted(places))
