"""A small agreed task for hybrid consortia, and rows of two organizations."""

from __future__ import annotations

from rescind.core import artifact_id, encode
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics, reference_tensors
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.training import Example

DESK = Task(
    prompt="Which desk answers this message? {text}",
    features=NgramFeatures(buckets=63),
    labels=("cards", "loans"),
    max_rows=1000,
)
_ROUTED = NgramFeatures(buckets=31)
REFERENCE = encode(
    reference_tensors(
        _ROUTED.of(["Is it raining?", "Who won?", "What time is it?", "How far is the moon?"])
    )
)
"""Public questions, from which the router learns what no organization knows."""
ROUTER = RouterStatistics(
    features=_ROUTED, reference=artifact_id(REFERENCE), max_members=64, max_rows=1000
)
AGREED = StatisticsParameters(tasks={"desk": DESK}, router=ROUTER)
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
