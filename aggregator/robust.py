"""Rounds in which some updates may be bad: selections by integer weights, and robust statistics.

A rule with `checkable` True only chooses the weights of a `shared` round, in basis points, so that the
round's sum stays a weighted sum of registered deltas and the contract's check of its digest holds as
it is. Median and trimmed mean choose by coordinate, no digest equation covers them, and
`require_checkable` refuses them where a sum has to be proven.

Distances and norms are exact integers over the deltas as registered (noise that hides digests left
out), ties go to the lowest address: whoever has the deltas gets the same weights on any machine. The
weights are a function of the deltas that are in. The daemon chooses once, when a round is aggregated
(aggregator.selection); a removal that is to be a run without the organization would apply the rule again
to all that remain, including any that were left out before.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    WEIGHT_ONE,
    IntTensors,
    WrongShape,
    is_hiding,
    weighted_sum,
    weights,
)
from rescind.core.errors import ConfigError
from rescind.core.layout import shrunk

Deltas = Mapping[str, IntTensors]
"""Of one round of a shared layout, by organization."""


class NotCheckable(ConfigError):
    code = "config-rule-not-checkable"


class TooFewUpdates(ConfigError):
    code = "config-too-few-updates"


@dataclass(frozen=True)
class Selection:
    """`weights`: basis points of those who are summed; `left_out`: the rest, ascending; `measure`:
    what the rule judged each by (a Krum score, or the square of a norm, in integer units)."""

    weights: dict[str, int]
    left_out: tuple[str, ...] = ()
    measure: Mapping[str, int] = field(default_factory=dict)


class RobustRule(ABC):
    """`checkable`: whether the round stays a weighted sum with integer weights."""

    name: ClassVar[str]
    checkable: ClassVar[bool]

    @abstractmethod
    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        """The round's aggregate, in units of 2^-fraction_bits / 10,000.

        Raises TooFewUpdates, and WrongShape when the deltas are not of the same tensors.
        """


class WeightRule(RobustRule):
    checkable = True

    @abstractmethod
    def select(self, deltas: Deltas) -> Selection:
        """Who is summed with which weight. Raises TooFewUpdates, WrongShape."""

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        chosen = self.select(deltas).weights
        return weighted_sum((deltas[who], weight) for who, weight in chosen.items())


@dataclass(frozen=True)
class MultiKrum(WeightRule):
    """The `kept` updates with the lowest Krum scores, in equal shares (Blanchard et al. 2017, arXiv
    1703.02757). The score of one is the sum of squared L2 distances to its n - f - 2 nearest others,
    f = `byzantine` the number of bad updates that is withstood; it takes n >= 2f + 3.

    `kept` is n - f - 2 unless given, and at most n - f.
    """

    name = "multi-krum"
    byzantine: int
    kept: int | None = None

    def select(self, deltas: Deltas) -> Selection:
        who, bad = _alike(deltas), self.byzantine
        if bad < 0 or len(who) < 2 * bad + 3:
            raise TooFewUpdates(
                f"{self.name} against {bad} bad updates needs at least {2 * bad + 3}, the round has "
                f"{len(who)}: lower the number of bad updates or wait for more organizations"
            )
        kept = len(who) - bad - 2 if self.kept is None else self.kept
        if not 1 <= kept <= len(who) - bad:
            raise ConfigError(
                f"{self.name} keeps {kept} of {len(who)} updates: it must be 1 to {len(who) - bad}"
            )
        scores = _krum_scores(who, deltas, nearest=len(who) - bad - 2)
        best = sorted(who, key=lambda it: scores[it])[:kept]
        return Selection(weights("shared", best), tuple(it for it in who if it not in best), scores)


@dataclass(frozen=True)
class Krum(MultiKrum):
    """The one update with the lowest score."""

    name = "krum"
    kept: int | None = field(default=1, init=False)


@dataclass(frozen=True)
class NormClipping(WeightRule):
    """Everybody's share, times bound / norm where a delta's L2 norm is over the bound, rounded down to
    a basis point (Sun et al. 2019, arXiv 1911.07963, by weights instead of values).

    What is cut off goes to nobody: the weights sum to 10,000 at most, no organization can raise
    another's weight by a huge delta of its own, and no term is longer than share x bound.
    `bound` is in parameter units; without it, the (lower) median of the round's norms.
    """

    name = "norm-clipping"
    fraction_bits: int
    bound: float | None = None

    def select(self, deltas: Deltas) -> Selection:
        who = _alike(deltas)
        if not who:
            raise TooFewUpdates("norm clipping of a round without updates")
        squares = {it: _square(deltas[it]) for it in who}
        if self.bound is None:
            limit = sorted(squares.values())[(len(who) - 1) // 2]
        else:
            if not self.bound > 0:
                raise ConfigError(f"norm clipping to {self.bound}: the bound must be positive")
            limit = math.floor(self.bound * 2**self.fraction_bits) ** 2
        share = weights("shared", who)
        found = {it: shrunk(share[it], limit, squares[it]) for it in who}
        return Selection(
            {it: weight for it, weight in found.items() if weight},
            tuple(it for it in who if not found[it]),
            squares,
        )


@dataclass(frozen=True)
class TrimmedMean(RobustRule):
    """The mean of each coordinate without its `trimmed` lowest and highest values (Yin et al. 2018,
    arXiv 1803.01498), rounded to the grid. It withstands `trimmed` bad updates of n > 2 trimmed."""

    name = "trimmed-mean"
    checkable = False
    trimmed: int

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        kept = len(deltas) - 2 * self.trimmed
        if self.trimmed < 0 or kept < 1:
            raise TooFewUpdates(
                f"a mean without the {self.trimmed} lowest and highest values needs more than "
                f"{2 * self.trimmed} updates, the round has {len(deltas)}"
            )
        return {
            name: _nearest(rows[self.trimmed : self.trimmed + kept].sum(axis=0), kept)
            for name, rows in _sorted_rows(deltas)
        }


@dataclass(frozen=True)
class CoordinateMedian(RobustRule):
    """The median of each coordinate (Yin et al. 2018), exact: of an even number the mean of the two
    in the middle. It withstands bad updates as long as they are fewer than half."""

    name = "coordinate-median"
    checkable = False

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        if not deltas:
            raise TooFewUpdates("the median of a round without updates")
        low, high = (len(deltas) - 1) // 2, len(deltas) // 2
        half = WEIGHT_ONE // 2
        return {name: (rows[low] + rows[high]) * half for name, rows in _sorted_rows(deltas)}


def require_checkable(rule: RobustRule) -> WeightRule:
    """The rule, if the contract can check its sums. Raises NotCheckable."""
    if not isinstance(rule, WeightRule):
        raise NotCheckable(
            f"{rule.name} is no weighted sum of deltas, so the contract could not check it: use "
            "krum, multi-krum or norm-clipping"
        )
    return rule


def _krum_scores(who: Sequence[str], deltas: Deltas, *, nearest: int) -> dict[str, int]:
    distances: dict[tuple[str, str], int] = {}
    for place, one in enumerate(who):
        for other in who[place + 1 :]:
            distances[one, other] = distances[other, one] = _square(deltas[one], deltas[other])
    return {
        one: sum(sorted(distances[one, other] for other in who if other != one)[:nearest])
        for one in who
    }


def _alike(deltas: Deltas) -> list[str]:
    """The organizations, ascending, if their deltas are of the same tensors."""
    who = sorted(deltas, key=str.lower)
    shapes = {it: {name: value.shape for name, value in _values(deltas[it])} for it in who}
    for it in who:
        odd = sorted(set(shapes[it].items()) ^ set(shapes[who[0]].items()))
        if odd:
            raise WrongShape(
                f"tensor {odd[0][0]!r} of {it} or {who[0]} is not in both, or has two shapes: updates "
                "are compared in a shared layout only, where all are of the same tensors"
            )
    return who


def _square(one: IntTensors, other: IntTensors | None = None) -> int:
    """Squared L2 norm of `one`, or of its difference to `other`: an exact integer."""
    total = 0
    for name, value in _values(one):
        difference = value.astype(np.int64)
        if other is not None:
            difference = difference - other[name].astype(np.int64)
        high, low = (difference >> 16).ravel(), (difference & 0xFFFF).ravel()
        total += (int(high @ high) << 32) + (int(high @ low) << 17) + int(low @ low)
    return total


def _values(delta: IntTensors) -> Iterator[tuple[str, NDArray[np.int32]]]:
    return ((name, delta[name]) for name in sorted(delta) if not is_hiding(name))


def _sorted_rows(deltas: Deltas) -> Iterator[tuple[str, NDArray[np.int64]]]:
    who = _alike(deltas)
    for name, _ in _values(deltas[who[0]]):
        rows = np.stack([deltas[it][name].astype(np.int64) for it in who])
        yield name, np.sort(rows, axis=0)


def _nearest(total: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    result: NDArray[np.int64] = (2 * WEIGHT_ONE * total + count) // (2 * count)
    return result
