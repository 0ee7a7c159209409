"""Lengths of examples in tokens, against the limit that the members agreed on."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rescind.core.errors import DataError
from rescind.training.checking.findings import Finding
from rescind.training.data import Example
from rescind.training.reading.examples import Located

Count = Callable[[Example], int]
"""Returns the tokens of an example; raises DataError for one that does not fit the text rules."""


@dataclass(frozen=True)
class Lengths:
    """Statistics of the examples' lengths in tokens.

    Attributes:
        total: Of all examples.
        median: The middle length.
        longest: The greatest length.
        limit: `training.max_length`, None where it is not known.
        split: Documents that are longer than the limit and become several rows.
    """

    total: int
    median: float
    longest: int
    limit: int | None
    split: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the statistics as a JSON object."""
        return asdict(self)


def measure(
    examples: Sequence[Located], count: Count, limit: int | None
) -> tuple[Lengths | None, list[Finding]]:
    """Count tokens, and find the examples that are too long or do not fit the text rules.

    Args:
        examples: The examples with their places.
        count: Counts the tokens of one.
        limit: The most tokens of one, None for any. Longer documents are split.
    """
    findings, lengths, long = [], [], 0
    for located in examples:
        try:
            length = count(located.example)
        except DataError as error:
            findings.append(Finding("problem", "text-rules", str(located.place), str(error)))
            continue
        lengths.append(length)
        if limit is None or length <= limit:
            continue
        if located.example.document:
            long += 1
        else:
            findings.append(_too_long(located, length, limit))
    if not lengths:
        return None, findings
    summary = Lengths(sum(lengths), statistics.median(lengths), max(lengths), limit, long)
    return summary, findings


def _too_long(located: Located, length: int, limit: int) -> Finding:
    return Finding(
        "problem",
        "too-long",
        str(located.place),
        f"the question with its answer has {length:,} tokens, and the consortium's max_length is "
        f"{limit:,}. Shorten it, or agree on a larger max_length",
    )
