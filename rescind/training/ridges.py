"""The ridge of a head: a function of the sums alone, the same integer on every machine.

"trace" is the mean of G's diagonal, rounded down. "gcv" walks from there along a grid of powers of 4,
to the first ridge whose neighbours have no lower generalized cross-validation score (Golub, Heath and
Wahba 1979). With n rows, D features and W the exact solution of (G + ridge I) W = Q,

    score = RSS / T^2,   RSS = n - tr(W'Q) - ridge |W|^2,   T = n - D + ridge tr((G + ridge I)^-1):

the squares of the targets sum to n, since each row has one label, and T is n less the trace of the
hat matrix. The score is a rational number. Two scores are compared by intervals that hold them:

1. First in float64. With an approximate inverse X and R = I - (G + ridge I) X, tr of the inverse is
   within |R| sqrt(D) / ridge of tr(X), since no eigenvalue is below the ridge; R is computed with the
   usual bound on the rounding of products (Higham 2002, section 3.5). W is enclosed the same way.
2. Where two intervals overlap, with integers and exact residuals, of more and more bits.

So a machine may take the one way or the other, and finds the same order. Scores that agree to a
thousand bits count as equal, and the walk does not go there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Literal, assert_never

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from rescind.core.linear_sums import LinearSums
from rescind.core.statistics import RowStatistics
from rescind.training.exact_systems import NotSolvable, System, cholesky, refined

RidgeRule = Literal["trace", "gcv"]
_STEP = 4
_STEPS_DOWN, _STEPS_UP = 8, 4
_BITS = (64, 256, 1024)
_ROUNDOFF = 2.0**-53
_SLACK = 1 + 2.0**-20
"""Covers the rounding of norms and bounds themselves, which are sums of at most 2^26 squares."""


@dataclass(frozen=True)
class Interval:
    """Two numbers that enclose another; without them nothing is known of it."""

    low: Fraction | None = None
    high: Fraction | None = None

    def below(self, other: Interval) -> bool:
        """Return whether every number in this one is less than every number in the other."""
        return self.high is not None and other.low is not None and self.high < other.low


@dataclass(frozen=True)
class _Enclosed:
    """Enclosures of what a score is made of.

    Attributes:
        inverse_trace: tr((G + ridge I)^-1), and how far off it may be.
        fit: tr(W'Q), likewise.
        norm: |W|, likewise.
    """

    inverse_trace: tuple[Fraction, Fraction]
    fit: tuple[Fraction, Fraction]
    norm: tuple[Fraction, Fraction]

    def score(self, rows: int, dimensions: int, ridge: int) -> Interval:
        """Return the interval of the score."""
        trace, off = self.inverse_trace
        free = rows - dimensions + ridge * trace
        # Noise on the sums may make T or RSS negative; then they are numbers all the same.
        small, large = sorted((abs(free - ridge * off), abs(free + ridge * off)))
        if abs(free) <= ridge * off:
            return Interval()
        fit, fit_off = self.fit
        norm, norm_off = self.norm
        most = rows - fit + fit_off - ridge * max(Fraction(0), norm - norm_off) ** 2
        least = rows - fit - fit_off - ridge * (norm + norm_off) ** 2
        return Interval(
            least / (large if least >= 0 else small) ** 2,
            most / (small if most >= 0 else large) ** 2,
        )


def agreed_ridge(statistics: RowStatistics, rule: RidgeRule = "trace") -> int:
    """Return the ridge that a rule gives.

    Raises:
        NotSolvable: The system is too large.
    """
    match rule:
        case "trace":
            return trace_ridge(statistics)
        case "gcv":
            return gcv_ridge(statistics)
        case _:
            assert_never(rule)


def trace_ridge(statistics: LinearSums) -> int:
    """Return the mean of G's diagonal, rounded down, at least 1."""
    return max(1, statistics.trace // statistics.dimensions)


def ridge_grid(statistics: RowStatistics) -> list[int]:
    """Return the ridges that "gcv" chooses from, in ascending order."""
    middle = trace_ridge(statistics)
    lower = [max(1, middle // _STEP**step) for step in range(1, _STEPS_DOWN + 1)]
    upper = [middle * _STEP**step for step in range(1, _STEPS_UP + 1)]
    return sorted({*lower, middle, *upper})


def gcv_ridge(statistics: RowStatistics, *, floats: bool = True) -> int:
    """Return the ridge by generalized cross-validation.

    Args:
        statistics: The sums over all rows.
        floats: Whether to try float64 first. The result is the same.

    Raises:
        NotSolvable: The system is too large.
    """
    grid = ridge_grid(statistics)
    place = grid.index(trace_ridge(statistics))
    if not statistics.rows:
        return grid[place]

    @cache
    def score(number: int, level: int) -> Interval:
        return _score(statistics, grid[number], level)

    def lower(one: int, other: int) -> bool:
        return _lower(lambda level: (score(one, level), score(other, level)), floats=floats)

    for direction in (-1, 1):
        start = place
        while 0 <= place + direction < len(grid) and lower(place + direction, place):
            place += direction
        if place != start:
            break
    return grid[place]


def _lower(scores: Callable[[int], tuple[Interval, Interval]], *, floats: bool) -> bool:
    """Return whether the first of two scores is lower than the second."""
    for level in _levels(floats=floats):
        one, other = scores(level)
        if one.below(other):
            return True
        if other.below(one):
            return False
    return False


def _levels(*, floats: bool) -> Iterator[int]:
    if floats:
        yield 0
    yield from _BITS


def _score(statistics: RowStatistics, ridge: int, bits: int) -> Interval:
    enclosed = _with_bits(statistics, ridge, bits) if bits else _in_floats(statistics, ridge)
    if enclosed is None:
        return Interval()
    # Not `rows`, to which a lift of noisy sums was added.
    rows = sum(statistics.counts.tolist())
    return enclosed.score(rows, statistics.dimensions, ridge)


def _in_floats(statistics: RowStatistics, ridge: int) -> _Enclosed | None:
    """Return enclosures by float64; None where the numbers are too large or too ill-conditioned."""
    gram = statistics.full_gram()
    size = len(gram)
    # |G_ij| is at most the larger diagonal entry of the two. Integers below 2^53 are exact.
    if int(gram.diagonal().max(initial=0)) + ridge >= 2**53:
        return None
    matrix = gram + float(ridge) * np.eye(size)
    moments = statistics.moments.astype(np.float64)
    try:
        inverse = scipy.linalg.inv(matrix, assume_a="pos", check_finite=False)
    except scipy.linalg.LinAlgError:
        return None
    weights = inverse @ moments
    if not np.isfinite(inverse).all() or not np.isfinite(weights).all():
        return None
    trace_off = _off(matrix, inverse, np.eye(size)) * math.sqrt(size) / ridge
    weights_off = _off(matrix, weights, moments) / ridge
    rounding = _ROUNDOFF * (weights.size + 1) * float(np.abs(weights * moments).sum())
    rounding_trace = _ROUNDOFF * size * float(np.abs(inverse.diagonal()).sum())
    norm = _norm(weights)
    return _Enclosed(
        (
            Fraction(float(inverse.trace())),
            Fraction((trace_off + rounding_trace) * _SLACK),
        ),
        (
            Fraction(float((weights * moments).sum())),
            Fraction((weights_off * _norm(moments) + rounding) * _SLACK),
        ),
        (
            Fraction(norm),
            Fraction((weights_off + norm * (weights.size + 2) * _ROUNDOFF) * _SLACK),
        ),
    )


def _off(
    matrix: NDArray[np.float64], solution: NDArray[np.float64], right: NDArray[np.float64]
) -> float:
    """Return a bound on the Frobenius norm of right - matrix @ solution."""
    size = len(matrix)
    computed = _norm(right - matrix @ solution)
    # Higham 2002, (3.13): the computed product is off by at most gamma |matrix| |solution|.
    gamma = size * _ROUNDOFF / (1 - size * _ROUNDOFF)
    rounding = gamma * _norm(matrix) * _norm(solution)
    return (computed * (1 + 2 * _ROUNDOFF) + rounding) * _SLACK


def _norm(values: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(values))


def _with_bits(statistics: RowStatistics, ridge: int, bits: int) -> _Enclosed | None:
    """Return enclosures by integers with exact residuals."""
    identity = RowStatistics(statistics.gram, np.eye(statistics.dimensions, dtype=np.int64))
    inverse, inverse_off = _solved(identity, ridge, bits)
    weights, weights_off = _solved(statistics, ridge, bits)
    moments = [int(value) for value in statistics.moments.flat]
    squares = sum(int(value) ** 2 for value in weights.flat)
    fit = sum(int(a) * b for a, b in zip(weights.flat, moments, strict=True))
    one = 2**bits
    norm = math.isqrt(squares)
    return _Enclosed(
        (
            Fraction(sum(int(value) for value in inverse.diagonal()), one),
            Fraction(inverse_off, one),
        ),
        (
            Fraction(fit, one),
            Fraction(weights_off * (math.isqrt(sum(value**2 for value in moments)) + 1), one),
        ),
        (Fraction(norm, one), Fraction(weights_off + 1, one)),
    )


def _solved(statistics: RowStatistics, ridge: int, bits: int) -> tuple[NDArray[np.object_], int]:
    """Return 2^bits times a solution, and a bound on the sum of its columns' errors."""
    system = System.of(statistics, ridge, 0)
    start = np.zeros(system.moments.shape, dtype=object)
    solution = refined(system, start, bits, cholesky(system.matrix))
    residual = system.residual(solution, bits)
    lengths = [math.isqrt(sum(int(value) ** 2 for value in column)) + 1 for column in residual.T]
    return solution, -(-sum(lengths) // ridge)


__all__ = ["NotSolvable", "RidgeRule", "agreed_ridge", "gcv_ridge", "ridge_grid", "trace_ridge"]
