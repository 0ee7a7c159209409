"""Models with statistics, made of tensors: two organizations with rows of one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from rescind.core import (
    STATISTICS,
    ConsortiumParameters,
    Totals,
    add_totals,
    artifact_id,
    artifact_limits,
    encode,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import ROUTER, RouterStatistics, reference_tensors
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
NUMBERS = {AURORA: 0, BOREALIS: 1}
"""Their member numbers."""
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
    return dict(add_totals(contributed_tensors(agreed, _rows_of(each, agreed)) for each in owners))


def _rows_of(owner: str, agreed: StatisticsParameters) -> dict[str, RowStatistics]:
    rows = {"desk": statistics_of([owner])}
    if agreed.router is not None:
        features = agreed.router.features.of(QUESTIONS[owner])
        rows[ROUTER] = agreed.router.collect(features, NUMBERS[owner])
    return rows


_ROUTED = NgramFeatures(buckets=63)
REFERENCE = encode(
    reference_tensors(
        _ROUTED.of(["Is it raining?", "Who won?", "What time is it?", "How far is the moon?"])
    )
)
"""Public questions, from which a router learns what no organization knows."""
ROUTED = AGREED.model_copy(
    update={
        "router": RouterStatistics(
            features=_ROUTED, reference=artifact_id(REFERENCE), max_members=64, max_rows=1000
        )
    }
)
QUESTIONS = {
    AURORA: ("Where was Ada Lovelace born?", "When did Ada Lovelace live?"),
    BOREALIS: ("Which prize did Otto Vergalin win?", "What did Otto Vergalin write?"),
}
"""The questions that an agreed router is solved from."""


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
        summed={STATISTICS: agreed.shapes},
    )
    least = 2 * limits.largest + 2**24
    return ConsortiumParameters.model_validate(
        changed | {"max_artifact_bytes": max(parameters.max_artifact_bytes, least)}
    )


def with_statistics(
    blocks: Totals, owners: Iterable[str], agreed: StatisticsParameters | None = None
) -> Totals:
    """Return a model of blocks with the statistics of some organizations."""
    return {**blocks, **summed_statistics(owners, agreed or AGREED)}
