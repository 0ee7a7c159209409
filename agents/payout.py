"""The contract's pay, and closed forms of the reward rules' scores.

`credit` equals Rewards.credit of contracts/src/Rewards.sol to the wei. The score rules are those of
the aggregator (aggregator/shapley.py) in closed form, for the value of a coalition S

    v(S) = 1 - exp(-sum of g_j over S / scale),

which is the share of the remaining loss that the updates of S remove together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit

SCORE_ONE = 10_000
"""Score of the best update of a round."""

RULES = ("equal", "alone", "leave-one-out", "shapley")
EQUAL, ALONE, LEAVE_ONE_OUT, SHAPLEY = range(4)

# 8 nodes integrate polynomials up to degree 15 exactly: games of 16 organizations, and larger ones
# closely. They are moved from [-1, 1] to [0, 1].
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def credit(reward_per_round: int, pool: int, scores: Sequence[int]) -> list[int]:
    """Return what each organization is credited for a round, in wei.

    Args:
        reward_per_round: The agreed reward of a round, in wei.
        pool: What is left in the reward pool, in wei.
        scores: Score of each organization.
    """
    total = sum(scores)
    available = min(reward_per_round, pool)
    return [available * score // total if total else 0 for score in scores]


@njit(cache=True)
def worths(rule: int, alone: Any, marginal: Any, n: int, scale: float, out: Any) -> None:
    """Fill `out` with the worth of each accepted update by a rule, before rounding.

    Leave-one-out is v(N) - v(N without i). Shapley is Owen's integral (1972, Management Science
    18(5)) by Gauss-Legendre: with a_j = 1 - exp(-g_j / scale), the multilinear extension of v is
    1 - prod (1 - t a_j), so phi_i = a_i * integral over t in [0, 1] of prod over j != i of
    (1 - t a_j).

    Args:
        rule: Index into RULES.
        alone: What each update seems to add by itself, in full rounds (n,); overwritten.
        marginal: What each update adds beside the others, in full rounds (n,).
        n: Number of organizations.
        scale: Scale of the common knowledge, in full rounds.
        out: The result, 0 to 1 (n,).
    """
    if rule == EQUAL:
        for i in range(n):
            out[i] = 1.0
        return
    if rule == ALONE:
        for i in range(n):
            out[i] = 1.0 - math.exp(-alone[i] / scale)
        return
    if rule == LEAVE_ONE_OUT:
        together = 0.0
        for i in range(n):
            together += marginal[i]
        for i in range(n):
            out[i] = math.exp(-(together - marginal[i]) / scale) - math.exp(-together / scale)
        return
    # `alone` is not needed for Shapley values, so it holds a_j: this saves an allocation each
    # round.
    for i in range(n):
        out[i] = 0.0
        alone[i] = 1.0 - math.exp(-marginal[i] / scale)
    for q in range(_NODES.size):
        t = _NODES[q]
        product = 1.0
        for i in range(n):
            product *= 1.0 - t * alone[i]
        product *= _WEIGHTS[q]
        # The product over j != i is the whole product over its i-th factor: n steps, not n^2.
        for i in range(n):
            out[i] += product / (1.0 - t * alone[i])
    for i in range(n):
        out[i] *= alone[i]


@njit(cache=True)
def to_scores(values: Any, n: int) -> None:
    """Make scores of values in place: whole numbers from 0, the best at 10,000."""
    # From 0, so that a round in which no update has a positive worth scores 0 for all.
    best = 0.0
    for i in range(n):
        best = max(best, values[i])
    for i in range(n):
        values[i] = round(SCORE_ONE * values[i] / best) if best > 0 and values[i] > 0 else 0.0
