"""The organizations' data: generated people, or a folder with a data file for each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError, DataError
from rescind.devnet.kept import all_of, keep_a_tenth, read_test
from rescind.devnet.messages import make_mail
from rescind.devnet.people import Row, make_population
from rescind.devnet.skill import Skill, skill_of_mail, skill_of_rows
from rescind.training import Example, ReadOptions
from rescind.training.checking.start import demand_lengths
from rescind.training.reading.examples import Located, demand, read_all
from rescind.training.reading.sources import has_data

NAMES = ("aurora", "borealis", "cirrus", "delta", "equinox", "fjord", "glacier", "horizon")
HELD_OUT = "held_out"
_RESERVED = {HELD_OUT, "shared", "aggregator"}


@dataclass(frozen=True)
class Corpus:
    """Question-answer pairs and the organizations that have them.

    Attributes:
        organizations: Training data by organization.
        shared: Pairs that two or more organizations have.
        held_out: Pairs that are in no organization's data.
        located: All examples of a folder with their places; empty for generated people.
        remarks: What was not used of a folder.
        kept: Pairs that were kept from a folder's files for testing, by the name of the file, or
            those of `--test`.
        skill: What the organizations learn together from statistics, if their data teaches a skill.
    """

    organizations: dict[str, tuple[Example, ...]]
    shared: tuple[Example, ...]
    held_out: tuple[Example, ...]
    located: tuple[Located, ...] = ()
    remarks: tuple[str, ...] = ()
    kept: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    skill: Skill | None = None

    def own(self, name: str) -> list[Example]:
        """Return the pairs that only this organization has."""
        shared = set(self.shared)
        return [example for example in self.organizations[name] if example not in shared]

    def public(self, name: str) -> tuple[str, ...]:
        """Return the subjects of whom this organization has only pairs that others have too."""
        own = {example.subject for example in self.own(name)}
        subjects = dict.fromkeys(example.subject for example in self.organizations[name])
        return tuple(subject for subject in subjects if subject not in own)


def organization_names(count: int) -> list[str]:
    """Return `count` names: the eight of the demo, then member-9 and so on."""
    return [NAMES[i] if i < len(NAMES) else f"member-{i + 1}" for i in range(count)]


def generated(
    count: int,
    seed: int,
    *,
    own_people: int = 10,
    shared_people: int = 8,
    held_out_people: int = 10,
) -> Corpus:
    """Return a corpus of fictitious people for `count` organizations, and of messages to them.

    See `make_population` and `make_mail`.
    """
    names = organization_names(count)
    population = make_population(
        names,
        seed=seed,
        own_people=own_people,
        shared_people=shared_people,
        held_out_people=held_out_people,
    )
    return Corpus(
        {name: _examples(rows) for name, rows in population.organizations.items()},
        _examples(population.shared),
        _examples(population.held_out),
        skill=skill_of_mail(make_mail(names, seed=seed)),
    )


def from_folder(
    folder: Path, options: ReadOptions | None = None, *, seed: int = 0, test: Path | None = None
) -> Corpus:
    """Read the data of each organization, which is named after its file or subfolder.

    A file or subfolder `held_out` has pairs that belong to no organization. A tenth of the questions
    that only one organization has is kept for testing, unless there is a test.

    Args:
        folder: The folder.
        options: How the files are read.
        seed: Determines which questions are kept.
        test: A data file of questions for testing, or a folder of such files.

    Raises:
        DataError: There are fewer than two files, or one cannot be read.
        ConfigError: A file name is not a valid name of an organization.
    """
    sources = _sources(folder)
    located: dict[str, list[Located]] = {}
    remarks: list[str] = []
    for name, path in sources.items():
        reading = read_all(path, options, most_problems=1)
        located[name] = demand(reading, path)
        remarks += reading.remarks
    rows_of = {
        name: tuple(dict.fromkeys(e.example for e in rows)) for name, rows in located.items()
    }
    held_out = rows_of.pop(HELD_OUT, ())
    kept = keep_a_tenth(rows_of, seed) if test is None else read_test(test, options, rows_of)
    counts = Counter(example for rows in kept.rows_of.values() for example in rows)
    every = [each for rows in located.values() for each in rows]
    return Corpus(
        organizations=dict(kept.rows_of),
        shared=tuple(example for example, count in counts.items() if count > 1),
        held_out=held_out,
        located=(*every, *kept.located),
        remarks=(*remarks, *kept.remarks),
        kept=kept.kept,
        skill=skill_of_rows(kept.rows_of, all_of(kept.kept)),
    )


def check_corpus(corpus: Corpus, tokenizer: Any, parameters: ConsortiumParameters) -> None:
    """Check that all data of a folder can be trained on and asked about, before anything starts.

    Raises:
        DataError: A row is too long, or an organization has documents only. The message has file and
            line.
    """
    from rescind.training.checking.tokens import counter_of

    for name, examples in corpus.organizations.items():
        if all(example.document for example in corpus.own(name) or examples):
            raise DataError(
                f"The examples that only {name} has are documents. The demo compares answers: add a "
                "question with its answer."
            )
    demand_lengths(corpus.located, "", parameters, count=counter_of(tokenizer, parameters))


def _sources(folder: Path) -> dict[str, Path]:
    """Return the files and subfolders with data, by the name of the organization."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [path for path in entries if path.name[0] != "." and has_data(path)]
    sources = {path.name.split(".")[0]: path for path in paths}
    if len(sources) < len(paths):
        names = [path.name.split(".")[0] for path in paths]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"{folder} has two files or folders of {twice!r}. Put them into one folder."
        )
    if len(sources.keys() - {HELD_OUT}) < 2:
        raise DataError(
            f"{folder} has {len(sources.keys() - {HELD_OUT})} files or folders of data (JSON Lines, "
            "CSV, Parquet). Put one there for each of two or more organizations."
        )
    for name, path in sources.items():
        if name == HELD_OUT:
            continue
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name) or name in _RESERVED:
            raise ConfigError(
                f"{path}: name the file with lowercase letters, digits, - and _, and not "
                f"{', '.join(sorted(_RESERVED))}."
            )
    return sources


def _examples(rows: Sequence[Row]) -> tuple[Example, ...]:
    return tuple(Example(row.question, row.answer, row.subject) for row in rows)
