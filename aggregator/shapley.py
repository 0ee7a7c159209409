"""What each contribution is worth, from the values of coalitions.

A value is a function of a set of players 0..n-1, found by rebuilding the sub-model of their registered
deltas, with one number for each row of a benchmark; the value of nobody is 0. Every rule gives float64
(players, rows): rules are linear in the value, so a player's worth is the mean over its rows, and their
spread says how sure it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Value = Callable[[frozenset[int]], Floats]

EXACT_UP_TO = 6


class Remembered:
    """A value that is found once for each coalition. `asked`: how many were found."""

    def __init__(self, value: Value, rows: int) -> None:
        self._value = value
        self._known: dict[frozenset[int], Floats] = {frozenset(): np.zeros(rows)}

    def __call__(self, coalition: frozenset[int]) -> Floats:
        if coalition not in self._known:
            self._known[coalition] = np.asarray(self._value(coalition), dtype=np.float64)
        return self._known[coalition]

    @property
    def asked(self) -> int:
        return len(self._known) - 1


def leave_one_out(n: int, value: Value) -> Floats:
    """v(N) - v(N without i): n + 1 values."""
    everybody = frozenset(range(n))
    return np.array([value(everybody) - value(everybody - {i}) for i in range(n)])


def shapley(n: int, value: Value) -> Floats:
    """Exactly, by all 2^n coalitions (Shapley 1953). Raises ValueError above 20 players."""
    if n > 20:
        raise ValueError(f"{n} players have 2^{n} coalitions: use truncated_monte_carlo or guided")
    found = np.zeros((n, value(frozenset()).size))
    for size in range(n):
        weight = 1.0 / (n * math.comb(n - 1, size))
        for coalition in itertools.combinations(range(n), size):
            before = value(frozenset(coalition))
            for i in set(range(n)) - set(coalition):
                found[i] += weight * (value(frozenset((*coalition, i))) - before)
    return found


def truncated_monte_carlo(
    n: int, value: Value, *, permutations: int, tolerance: float, seed: int
) -> Floats:
    """Over random orders, each truncated once what is left to gain is less than `tolerance` (Ghorbani
    and Zou 2019, arXiv 1904.02868, algorithm 1)."""
    if permutations < 1:
        raise ValueError(f"{permutations} permutations estimate nothing")
    dice = np.random.default_rng(seed)
    orders = [dice.permutation(n) for _ in range(permutations)]
    return _mean_over(orders, value, tolerance)


def guided(
    n: int, value: Value, *, permutations: int, tolerance: float, round_tolerance: float, seed: int
) -> Floats:
    """GTG-Shapley of one round (Liu et al. 2022, doi 10.1145/3501811).

    Between rounds: one that improved the model by no more than `round_tolerance` is worth nothing to
    anybody. Within: orders are truncated, and each player comes first equally often, so that at least
    `permutations` orders are a whole number of turns.
    """
    if permutations < 1:
        raise ValueError(f"{permutations} permutations estimate nothing")
    everything = value(frozenset(range(n)))
    if abs(everything.mean()) <= round_tolerance:
        return np.zeros((n, everything.size))
    dice = np.random.default_rng(seed)
    orders: list[NDArray[np.int64]] = []
    while len(orders) < permutations:
        for first in range(n):
            rest = dice.permutation([i for i in range(n) if i != first])
            orders.append(np.concatenate([[first], rest]).astype(np.int64))
    return _mean_over(orders, value, tolerance)


def _mean_over(orders: Sequence[NDArray[np.int64]], value: Value, tolerance: float) -> Floats:
    n = orders[0].size
    everything = value(frozenset(range(n)))
    found = np.zeros((n, everything.size))
    for order in orders:
        before, coalition = value(frozenset()), frozenset[int]()
        for i in order:
            if abs(everything.mean() - before.mean()) < tolerance:
                break
            coalition |= {int(i)}
            now = value(coalition)
            found[i] += now - before
            before = now
    return found / len(orders)


def rank_agreement(first: Floats, second: Floats) -> float:
    """Spearman's rho of two scores (players,), ties averaged; 1 where neither tells players apart, 0 where only one does."""
    from scipy.stats import spearmanr

    flat = np.ptp(first) < 1e-12, np.ptp(second) < 1e-12
    if any(flat):
        return float(all(flat))
    return float(spearmanr(first, second).statistic)
