"""Models with statistics, made of tensors: two organizations with rows of one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from rescind.core import ConsortiumParameters, Totals, add_totals, artifact_limits
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.core.statistics_tensors import contributed_tensors
from tests.support.serving_chain import AURORA, BOREALIS

DESK = Task(
    prompt="Which desk answers this message? {text}",
    features=NgramFeatures(buckets=255),
    labels=("cards and PINs", "loans", "savings"),
    max_rows=1000,
)
AGREED = StatisticsParameters(tasks={"desk": DESK})
ROWS: Mapping[str, tuple[tuple[str, str], ...]] = {
    AURORA: (
        ("My card is lost", "cards and PINs"),
        ("The card is blocked", "cards and PINs"),
        ("I forgot the PIN of my card", "cards and PINs"),
    ),
    BOREALIS: (
        ("What does a loan cost?", "loans"),
        ("I want to repay my loan", "loans"),
    ),
}
ABOUT_CARDS = DESK.question("Where is my card?")
ABOUT_LOANS = DESK.question("Can I repay the loan early?")


def statistics_of(owners: Iterable[str]) -> RowStatistics:
    """Return the sum of the rows of some organizations."""
    rows = [row for owner in owners for row in ROWS[owner]]
    return DESK.collect([text for text, _ in rows], [label for _, label in rows])


def summed_statistics(
    owners: Iterable[str], agreed: StatisticsParameters = AGREED
) -> dict[str, np.ndarray]:
    """Return the statistics in a model of some organizations, by qualified name."""
    parts = [contributed_tensors(agreed, {"desk": statistics_of([owner])}) for owner in owners]
    return dict(add_totals(parts))


def hybrid(
    parameters: ConsortiumParameters, agreed: StatisticsParameters = AGREED
) -> ConsortiumParameters:
    """Return parameters of blocks, with statistics beside them."""
    changed = parameters.model_dump(mode="json") | {
        "coupling": "hybrid",
        "hiding": True,
        "statistics": agreed.model_dump(mode="json"),
    }
    limits = artifact_limits(
        parameters.delta_shapes(),
        layout="blocks",
        max_members=parameters.max_members,
        statistics=agreed.shapes,
    )
    least = 2 * limits.largest + 2**24
    return ConsortiumParameters.model_validate(
        changed | {"max_artifact_bytes": max(parameters.max_artifact_bytes, least)}
    )


def with_statistics(blocks: Totals, owners: Iterable[str]) -> Totals:
    """Return a model of blocks with the statistics of some organizations."""
    return {**blocks, **summed_statistics(owners)}
