"""The factor B that is served from summed ranks, as canonical integers.

Each module is a system of its own, and its B' is solved and proved like a head
(`rescind.training.heads`): the nearest integers to the exact rational solution, on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core.summed_ranks import RankStatistics, SummedRanks
from rescind.training.heads import Head, check_head, solve

SCALE_BITS = 20
"""B is in units of 2^-20, as deltas usually are."""


@dataclass(frozen=True, eq=False)
class MergedRanks:
    """The factor of every module.

    Attributes:
        heads: B' of each module in units of 2^-SCALE_BITS, with its witness, by name.
    """

    heads: Mapping[str, Head]

    def integers(self) -> dict[str, NDArray[np.int64]]:
        """Return B of each module, int64 (out, rank), by LoRA tensor name: the canonical result."""
        return {
            f"{name}.lora_B": np.ascontiguousarray(head.weights.T)
            for name, head in sorted(self.heads.items())
        }

    def factors(self) -> dict[str, NDArray[np.float32]]:
        """Return B of each module as parameters, (out, rank), by LoRA tensor name."""
        return {
            name: (value / 2.0**SCALE_BITS).astype(np.float32)
            for name, value in self.integers().items()
        }


def merge(
    statistics: RankStatistics, agreed: SummedRanks, public: RankStatistics | None = None
) -> MergedRanks:
    """Solve the factor of every module.

    Args:
        statistics: The sums of all organizations.
        agreed: What the members agreed on.
        public: The sums over public text, whose outputs must not change.

    Raises:
        NotSolvable: A module has no sums.
    """
    together = _together(statistics, public)
    heads = {}
    for name in agreed.modules:
        sums = together.module(name)
        ridge = sums.ridge(agreed.ridge_bits)
        heads[name] = solve(sums, ridge=ridge, scale_bits=SCALE_BITS)
    return MergedRanks(heads)


def check_merged(
    merged: MergedRanks,
    statistics: RankStatistics,
    agreed: SummedRanks,
    public: RankStatistics | None = None,
) -> None:
    """Check that factors are those of the sums, by their witnesses.

    Raises:
        WrongHead: One is another, or its witness does not prove it.
    """
    together = _together(statistics, public)
    for name in agreed.modules:
        sums = together.module(name)
        check_head(sums, merged.heads[name], ridge=sums.ridge(agreed.ridge_bits))


def _together(statistics: RankStatistics, public: RankStatistics | None) -> RankStatistics:
    return RankStatistics.sum([statistics, *([] if public is None else [public])])
