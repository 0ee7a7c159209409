"""The router that is served from summed statistics, as canonical integers. It needs no torch.

1. A = sum of A_i over the members, plus A_0 of the first half of the public reference; b_0 is the
   reference's sum.
2. W = nearest integers to 2^40 (A + ridge I)^-1 [b_0 | b_1 .. b_n] (rescind.training.heads).
3. Each column is scaled to length 2^24 and rounded, ties away from zero (DUME normalizes columns so
   that an organization with many questions does not win by their number).
4. A block's score of a question z is w_i' z - w_0' z: how much more the question resembles the
   organization's than the public ones. The best block answers if its score is above a threshold of
   at least 0, which at most the agreed share of the second half of the reference exceeds.

All of it is integer arithmetic on the sums, so every machine routes by the same numbers. Features of
a question may still differ in their last unit between machines, where they are hidden states.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core import OutOfBounds, add_totals
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics import RowStatistics
from rescind.training.heads import solve

SCALE_BITS = 24
"""Scores are in units of 2^-24."""
_SOLVED_BITS = 40


@dataclass(frozen=True, eq=False)
class RouterHead:
    """The weights of a router.

    Attributes:
        members: Numbers of the members with questions in the sums, ascending.
        weights: Public questions first, then each member, int64 (dimensions, 1 + members).
        threshold: A block answers if its score is above.
    """

    members: tuple[int, ...]
    weights: NDArray[np.int64]
    threshold: int

    def scores(self, features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return each member's score of each question, int64 (questions, members), exact."""
        products: NDArray[np.int64] = features @ self.weights
        return products[:, 1:] - products[:, :1]


def solve_router(
    agreed: RouterStatistics,
    total: RowStatistics,
    reference: NDArray[np.int64],
    members: Iterable[int],
) -> RouterHead:
    """Return the router of summed statistics.

    Args:
        agreed: What the members agreed on.
        total: The sums over all members.
        reference: The features of the public reference, (questions, dimensions).
        members: Numbers of the members in the sums, by the chain. One without questions is left out.

    Raises:
        NotSolvable: See `heads.solve`.
        OutOfBounds: A score may not fit 64 bits.
    """
    if agreed.features.dimensions * agreed.features.largest * 2 ** (SCALE_BITS + 1) >= 2**63:
        raise OutOfBounds("a score of the router may not fit 64 bits: agree on smaller features")
    half = len(reference) // 2
    summed = tuple(sorted({*members} & {*members_of(total)}))
    nobody = RowStatistics.of(reference[:half], np.ones((half, 1), dtype=np.int64))
    gram = add_totals([{"gram": total.gram}, {"gram": nobody.gram}])["gram"]
    moments = np.hstack([nobody.moments, total.moments[:, list(summed)]])
    solved = solve(RowStatistics(gram, moments), scale_bits=_SOLVED_BITS)
    columns = [_scaled(column) for column in solved.weights.T]
    head = RouterHead(summed, np.array(columns, dtype=np.int64).T, 0)
    threshold = _threshold(head, reference[half:], agreed.false_rate)
    return RouterHead(summed, head.weights, threshold)


def members_of(total: RowStatistics) -> tuple[int, ...]:
    """Return the member numbers whose column is not empty, ascending.

    With agreed noise no column is: then only the chain says who is in the sums.
    """
    return tuple(int(number) for number in np.flatnonzero(total.moments.any(axis=0)))


def _scaled(column: NDArray[np.int64]) -> list[int]:
    """Return a column of length 2^SCALE_BITS: the nearest integers, ties away from zero."""
    values = [int(value) for value in column]
    square = sum(value**2 for value in values)
    if not square:
        return values
    # |v| 2^s / sqrt(square), rounded: half of one more than the floor of its double.
    doubled = [math.isqrt(value**2 * 4 ** (SCALE_BITS + 1) // square) for value in values]
    return [(d + 1) // 2 * (1 if v > 0 else -1) for d, v in zip(doubled, values, strict=True)]


def _threshold(head: RouterHead, checked: NDArray[np.int64], false_rate: float) -> int:
    """Return the least score from 0 that at most a share `false_rate` of the reference exceeds."""
    if not head.members:
        return 0
    best = np.sort(head.scores(checked).max(axis=1))[::-1]
    return max(0, int(best[math.floor(false_rate * len(best))]))
