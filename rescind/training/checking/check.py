"""The check of a data source: what is in it, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core.errors import DataError
from rescind.training.checking.findings import Finding, listed
from rescind.training.checking.lengths import Count, Lengths, measure
from rescind.training.checking.names import look_alikes
from rescind.training.checking.overlap import benchmark_overlap, duplicates
from rescind.training.checking.trouble import encoding_trouble
from rescind.training.reading.examples import Located, Reading, read_all
from rescind.training.reading.options import ReadOptions


@dataclass(frozen=True)
class DataCheck:
    """The result of a check.

    Attributes:
        path: The data.
        rows: Rows read.
        examples: Examples in them.
        kinds: Examples of each kind.
        subjects: Distinct data subjects.
        characters: Characters of all texts.
        lengths: Lengths in tokens; None without a tokenizer.
        findings: Problems first.
        remarks: What was not used or is worth knowing, without a name of a person.
    """

    path: Path
    rows: int
    examples: int
    kinds: dict[str, int]
    subjects: int
    characters: int
    lengths: Lengths | None
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]

    @property
    def problems(self) -> list[Finding]:
        """The findings with which the data cannot be trained on."""
        return [finding for finding in self.findings if finding.level == "problem"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that a person should look at."""
        return [finding for finding in self.findings if finding.level == "warning"]

    def demand(self) -> None:
        """Raise DataError for the first problem, with file and line."""
        problems = self.problems
        if problems:
            more = f" There are {len(problems) - 1} more problems." if len(problems) > 1 else ""
            raise DataError(f"{str(problems[0]).rstrip('.')}.{more}")

    def to_json(self) -> dict[str, Any]:
        """Return the check as a JSON object."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "examples": self.examples,
            "kinds": self.kinds,
            "subjects": self.subjects,
            "characters": self.characters,
            "tokens": self.lengths and self.lengths.to_json(),
            "problems": [finding.to_json() for finding in self.problems],
            "warnings": [finding.to_json() for finding in self.warnings],
            "remarks": list(self.remarks),
        }


def check_data(
    path: Path,
    options: ReadOptions | None = None,
    *,
    count: Count | None = None,
    limit: int | None = None,
    benchmark: Path | None = None,
) -> DataCheck:
    """Read a data source and check everything that can be checked without training.

    Args:
        path: A file or folder.
        options: How it is read.
        count: Counts tokens; None to leave lengths out.
        limit: The most tokens of a question with its answer.
        benchmark: A file whose rows the data should not have.
    """
    reading = read_all(path, options)
    unreadable = [Finding("problem", "unreadable", p.place, p.reason) for p in reading.problems]
    if not reading.examples and not unreadable:
        unreadable = [Finding("problem", "empty", str(path), "there is no example")]
    lengths, long = measure(reading.examples, count, limit) if count is not None else (None, [])
    warnings = [*_warnings(reading.examples)]
    if benchmark is not None:
        other = read_all(benchmark)
        unreadable += [Finding("problem", "unreadable", p.place, p.reason) for p in other.problems]
        warnings += benchmark_overlap(reading.examples, other.examples)
    return _summary(path, reading, lengths, (*unreadable, *long, *warnings))


def _summary(
    path: Path, reading: Reading, lengths: Lengths | None, findings: tuple[Finding, ...]
) -> DataCheck:
    examples = [located.example for located in reading.examples]
    kinds = Counter(
        "document" if e.document else "conversation" if e.turns else "question" for e in examples
    )
    return DataCheck(
        path=path,
        rows=reading.rows,
        examples=len(examples),
        kinds=dict(kinds),
        subjects=len({example.subject for example in examples}),
        characters=sum(len(text) for e in examples for text in (e.question, e.answer)),
        lengths=lengths,
        findings=findings,
        remarks=tuple(reading.remarks),
    )


def _warnings(examples: Sequence[Located]) -> Iterator[Finding]:
    yield from duplicates(examples)
    yield from _look_alikes(examples)
    yield from _trouble(examples)


def _look_alikes(examples: Iterable[Located]) -> Iterator[Finding]:
    first: dict[str, Located] = {}
    for located in examples:
        first.setdefault(located.example.subject, located)
    for group in look_alikes(first):
        places = [first[name].place for name in group.names]
        names = ", ".join(repr(name) for name in group.names[:5])
        yield Finding(
            "warning",
            "look-alike-names",
            str(places[0]),
            f"the subjects {names} (also {listed(places[1:])}) differ in {group.reason} only. If "
            "they are one person, write one name, or forgetting it leaves the other's rows",
        )


def _trouble(examples: Iterable[Located]) -> Iterator[Finding]:
    signs: dict[str, list[Located]] = {}
    for located in examples:
        example = located.example
        for text in (*(turn.text for turn in example.turns), example.question, example.answer):
            sign = encoding_trouble(text)
            if sign is not None:
                signs.setdefault(sign, []).append(located)
                break
    for sign, group in signs.items():
        rest = listed(each.place for each in group[1:])
        also = f"; also in {rest}" if rest else ""
        yield Finding("warning", "encoding", str(group[0].place), f"the text has {sign}{also}")
