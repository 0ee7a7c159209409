"""A small agreed task for hybrid consortia, and rows of two organizations."""

from __future__ import annotations

from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.training import Example

DESK = Task(
    prompt="Which desk answers this message? {text}",
    features=NgramFeatures(buckets=63),
    labels=("cards", "loans"),
    max_rows=1000,
)
AGREED = StatisticsParameters(tasks={"desk": DESK})
ROWS = {
    "aurora": [
        Example("My card is lost", "cards", "Ann Lee"),
        Example("The card is blocked", "cards", "Bo Kim"),
        Example("I forgot the PIN of my card", "cards", "Ann Lee"),
    ],
    "borealis": [
        Example("What does a loan cost?", "loans", "Cy Roe"),
        Example("I want to repay my loan", "loans", "Di Fox"),
    ],
}


def sums_of(rows: list[Example]) -> RowStatistics:
    """Return the statistics of rows."""
    return DESK.collect([row.question for row in rows], [row.answer for row in rows])
