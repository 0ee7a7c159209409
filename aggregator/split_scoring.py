"""Score contributions of private and shared ranks by what both add on the benchmark.

A row is answered by the shared ranks alone, or by the best private ranks beside them. A set of
contributions changes both: the shared ranks by the average of its shared deltas, and the private
ranks of its organizations. To measure each organization's private ranks once, and not once for each
set, they are measured beside the shared ranks that the round started from, as they were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.scoring import BenchmarkScorer, Deltas, Floats, taken_away
from rescind.aggregator.shapley import EXACT_UP_TO, Value
from rescind.core import (
    SHARED,
    ConsortiumParameters,
    FloatTensors,
    Totals,
    add_totals,
    block,
    blocks_of,
    encoded_id,
    qualify,
    weighted_sum,
    weights,
)
from rescind.core.split_settings import part_shapes

if TYPE_CHECKING:
    from rescind.training import Example


def make_split_scorer(
    config: AggregatorConfig,
    parameters: ConsortiumParameters,
    benchmark: Sequence[Example] | None,
) -> SplitScorer | None:
    """Return the scorer of a split coupling; None in another, or without a model or a benchmark."""
    section = config.evaluation
    if parameters.split is None or config.model is None or section is None or benchmark is None:
        return None
    scorer = SplitScorer(section, config.model, parameters, benchmark)
    scorer.scratch = config.aggregator.state_dir
    return scorer


class SplitScorer(BenchmarkScorer):
    """Scores both deltas of each contribution together."""

    @property
    def block_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the private ranks, by bare name."""
        assert self._parameters.split is not None
        return part_shapes(self._parameters.shapes, self._parameters.split, "own")

    def value_of(
        self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals
    ) -> tuple[Value, int]:
        """The value of a set of players, each some organizations with one update, and its rows."""
        shared = _owned(parent, SHARED)
        blocks = [self._beside(shared, _owned(parent, each), each) for each in blocks_of(parent)]
        before = np.min([self._beside(shared, {}, ""), *blocks], axis=0)
        after = [
            np.min([self._after(name, deltas[name], parent, shared) for name in group], axis=0)
            for group in groups
        ]

        def value(coalition: frozenset[int]) -> Floats:
            those = sorted(name for index in coalition for name in groups[index])
            share = weights("shared", those)
            moved = weighted_sum((_owned(deltas[name], SHARED), share[name]) for name in those)
            alone = self._beside(add_totals([shared, moved]), {}, "")
            now = np.min([alone, *blocks, *(after[index] for index in coalition)], axis=0)
            return taken_away(before, now)

        return value, before.size

    def _expected(self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals) -> int:
        exact = self._section.method == "shapley" and len(groups) <= EXACT_UP_TO
        return 1 + len(blocks_of(parent)) + len(deltas) + 2 ** len(groups) if exact else 0

    def _after(
        self, organization: str, delta: Mapping[str, Any], parent: Totals, shared: Totals
    ) -> Floats:
        totals, name = self._block_after(organization, delta, parent)
        own = {qualify(name, bare): value for bare, value in totals.items()}
        return self._beside(shared, own, name)

    def _beside(self, shared: Totals, own: Totals, organization: str) -> Floats:
        """Return the losses of private ranks beside shared ones, or of the shared ranks alone."""
        key = organization, encoded_id({**shared, **own}) if shared or own else ""
        return self.losses_once(key, lambda: self._joined({**shared, **own}, organization))

    def _joined(self, totals: Totals, organization: str) -> FloatTensors:
        from rescind.training.split.parts import shared_alone, split_parts

        settings = self._parameters.split
        assert settings is not None
        if not organization:
            return shared_alone(self._parameters, settings, totals)
        return split_parts(self._parameters, settings, totals, organization).joined()


def _owned(tensors: Mapping[str, Any], owner: str) -> dict[str, Any]:
    return {qualify(owner, bare): value for bare, value in block(tensors, owner).items()}
