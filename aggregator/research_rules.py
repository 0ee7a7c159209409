"""Robust rules for research and benchmarks. The daemon uses none of them.

Norm clipping chooses integer weights, so a contract could check its sum, but the weights are not the
equal shares that the contract asks of a selection. Median and trimmed mean choose by coordinate: no
digest equation covers them, and `require_checkable` refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.aggregator.krum import (
    Deltas,
    RobustRule,
    Selection,
    TooFewUpdates,
    WeightRule,
    check_same_tensors,
    compared_tensors,
    squared_distance,
)
from rescind.core import WEIGHT_ONE, shrunk, weights
from rescind.core.errors import ConfigError


class NotCheckable(ConfigError):
    """A contract cannot check the sums of the rule."""

    code = "config-rule-not-checkable"


@dataclass(frozen=True)
class NormClipping(WeightRule):
    """Each organization's share, shrunk where the L2 norm of its delta exceeds a bound.

    The share is multiplied by bound / norm and rounded down to a basis point (Sun et al. 2019, arXiv
    1911.07963, by weights instead of values). The remainder is not redistributed: the weights sum to
    10,000 at most, an organization cannot raise another's weight by a huge delta of its own, and no
    term is longer than share x bound.

    Attributes:
        fraction_bits: Fraction bits of the deltas.
        bound: Largest norm at full weight, in parameter units; the (lower) median of the round's
            norms if None.
    """

    name = "norm-clipping"
    fraction_bits: int
    bound: float | None = None

    def select(self, deltas: Deltas) -> Selection:
        """Return the shrunk shares, without organizations whose share becomes zero."""
        organizations = check_same_tensors(deltas)
        if not organizations:
            raise TooFewUpdates(f"{self.name} needs at least 1 update, the round has none")
        squares = {
            organization: squared_distance(deltas[organization]) for organization in organizations
        }
        if self.bound is None:
            limit = sorted(squares.values())[(len(organizations) - 1) // 2]
        else:
            if not self.bound > 0:
                raise ConfigError(f"the bound of {self.name} is {self.bound}: it must be positive")
            limit = math.floor(self.bound * 2**self.fraction_bits) ** 2
        share = weights("shared", organizations)
        clipped = {
            organization: shrunk(share[organization], limit, squares[organization])
            for organization in organizations
        }
        return Selection(
            {organization: weight for organization, weight in clipped.items() if weight},
            tuple(organization for organization in organizations if not clipped[organization]),
            squares,
        )


@dataclass(frozen=True)
class TrimmedMean(RobustRule):
    """The mean of each coordinate without its lowest and highest values, rounded to the grid.

    It withstands `trimmed` bad updates of n > 2 `trimmed` (Yin et al. 2018, arXiv 1803.01498).

    Attributes:
        trimmed: Number of values to drop at each end.
    """

    name = "trimmed-mean"
    trimmed: int

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        """Return the trimmed mean of each coordinate."""
        kept = len(deltas) - 2 * self.trimmed
        if self.trimmed < 0 or kept < 1:
            raise TooFewUpdates(
                f"{self.name} without the {self.trimmed} lowest and highest values needs more than "
                f"{2 * self.trimmed} updates, the round has {len(deltas)}"
            )
        return {
            name: _nearest(rows[self.trimmed : self.trimmed + kept].sum(axis=0), kept)
            for name, rows in _sorted_rows(deltas)
        }


@dataclass(frozen=True)
class CoordinateMedian(RobustRule):
    """The exact median of each coordinate; of an even number, the mean of the two in the middle.

    It withstands bad updates as long as they are fewer than half (Yin et al. 2018, arXiv
    1803.01498).
    """

    name = "coordinate-median"

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        """Return the median of each coordinate."""
        if not deltas:
            raise TooFewUpdates(f"{self.name} needs at least 1 update, the round has none")
        low, high = (len(deltas) - 1) // 2, len(deltas) // 2
        half = WEIGHT_ONE // 2
        return {name: (rows[low] + rows[high]) * half for name, rows in _sorted_rows(deltas)}


def require_checkable(rule: RobustRule) -> WeightRule:
    """Return the rule if a contract can check its sums.

    Raises:
        NotCheckable: The rule does not choose integer weights.
    """
    if not isinstance(rule, WeightRule):
        raise NotCheckable(
            f"{rule.name} does not compute a weighted sum of deltas, so the contract cannot check "
            "it: use krum, multi-krum or norm-clipping"
        )
    return rule


def _sorted_rows(deltas: Deltas) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield the values of each tensor over all organizations, sorted by coordinate."""
    organizations = check_same_tensors(deltas)
    for name, _ in compared_tensors(deltas[organizations[0]]):
        rows = np.stack(
            [deltas[organization][name].astype(np.int64) for organization in organizations]
        )
        yield name, np.sort(rows, axis=0)


def _nearest(total: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return total / count in basis points, rounded to the nearest integer."""
    result: NDArray[np.int64] = (2 * WEIGHT_ONE * total + count) // (2 * count)
    return result
