"""Worth of each player from the values of coalitions: Shapley values and cheaper rules.

A value is a function of a set of players 0..n-1. For a round, it is found by rebuilding the sub-model
of their registered deltas, with one number for each row of a benchmark; the value of the empty set is
0. Every rule returns float64 (players, rows): rules are linear in the value, so a player's worth is
the mean over its rows, and their spread tells how certain it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.core import WEIGHT_ONE

Floats = NDArray[np.float64]
Value = Callable[[frozenset[int]], Floats]
"""The value of a set of players, (rows,)."""

EXACT_UP_TO = 6
"""Players up to which all coalitions are evaluated: 2^6 = 64 sub-models of a round."""


class Remembered:
    """A value that is computed once for each coalition.

    Args:
        value: The value to compute.
        rows: Rows of the benchmark.
    """

    def __init__(self, value: Value, rows: int) -> None:
        self._value = value
        self._known: dict[frozenset[int], Floats] = {frozenset(): np.zeros(rows)}

    def __call__(self, coalition: frozenset[int]) -> Floats:
        if coalition not in self._known:
            self._known[coalition] = np.asarray(self._value(coalition), dtype=np.float64)
        return self._known[coalition]

    @property
    def asked(self) -> int:
        """Number of coalitions that were evaluated."""
        return len(self._known) - 1


def leave_one_out(n: int, value: Value) -> Floats:
    """Return v(N) - v(N without i) for each player i, from n + 1 values.

    Args:
        n: Number of players.
        value: The value of a set of players.
    """
    everyone = frozenset(range(n))
    return np.array([value(everyone) - value(everyone - {i}) for i in range(n)])


def shapley(n: int, value: Value) -> Floats:
    """Return the exact Shapley values, from all 2^n coalitions (Shapley 1953).

    Args:
        n: Number of players.
        value: The value of a set of players.

    Raises:
        ValueError: There are more than 20 players.
    """
    if n > 20:
        raise ValueError(f"{n} players have 2^{n} coalitions: use truncated_monte_carlo or guided")
    worth = np.zeros((n, value(frozenset()).size))
    for size in range(n):
        weight = 1.0 / (n * math.comb(n - 1, size))
        for coalition in itertools.combinations(range(n), size):
            before = value(frozenset(coalition))
            for i in set(range(n)) - set(coalition):
                worth[i] += weight * (value(frozenset((*coalition, i))) - before)
    return worth


def truncated_monte_carlo(
    n: int, value: Value, *, permutations: int, tolerance: float, seed: int
) -> Floats:
    """Return Shapley values estimated over random orders.

    An order is truncated once what is left to gain is less than `tolerance` (Ghorbani and Zou 2019,
    arXiv 1904.02868, algorithm 1).

    Args:
        n: Number of players.
        value: The value of a set of players.
        permutations: Number of orders.
        tolerance: Gain in mean value below which the rest of an order is not evaluated.
        seed: Seed of the orders.

    Raises:
        ValueError: `permutations` is less than 1.
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: it must be at least 1")
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n) for _ in range(permutations)]
    return _mean_over(orders, value, tolerance)


def guided(
    n: int, value: Value, *, permutations: int, tolerance: float, round_tolerance: float, seed: int
) -> Floats:
    """Return the GTG-Shapley values of one round (Liu et al. 2022, doi 10.1145/3501811).

    Between rounds: if a round improved the model by no more than `round_tolerance`, all its values
    are zero. Within a round: orders are truncated, and each player comes first equally often.

    Args:
        n: Number of players.
        value: The value of a set of players.
        permutations: Fewest orders; rounded up to a multiple of n.
        tolerance: Gain in mean value below which the rest of an order is not evaluated.
        round_tolerance: Gain in mean value up to which a round is worth nothing.
        seed: Seed of the orders.

    Raises:
        ValueError: `permutations` is less than 1.
    """
    if permutations < 1:
        raise ValueError(f"permutations is {permutations}: it must be at least 1")
    everything = value(frozenset(range(n)))
    if abs(everything.mean()) <= round_tolerance:
        return np.zeros((n, everything.size))
    rng = np.random.default_rng(seed)
    orders: list[NDArray[np.int64]] = []
    while len(orders) < permutations:
        for first in range(n):
            rest = rng.permutation([i for i in range(n) if i != first])
            orders.append(np.concatenate([[first], rest]).astype(np.int64))
    return _mean_over(orders, value, tolerance)


def _mean_over(orders: Sequence[NDArray[np.int64]], value: Value, tolerance: float) -> Floats:
    n = orders[0].size
    everything = value(frozenset(range(n)))
    worth = np.zeros((n, everything.size))
    for order in orders:
        before, coalition = value(frozenset()), frozenset[int]()
        for i in order:
            if abs(everything.mean() - before.mean()) < tolerance:
                break
            coalition |= {int(i)}
            now = value(coalition)
            worth[i] += now - before
            before = now
    return worth / len(orders)


def sampled(n: int, value: Value, *, permutations: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Return Shapley values estimated over random orders, with 95 % intervals.

    Orders come in pairs, each with its reverse, which lowers the variance (Mitchell et al. 2022,
    JMLR 23(43)); pairs are independent, so the interval is Student's over their means.

    Args:
        n: Number of players.
        value: The value of a set of players.
        permutations: Number of orders; rounded up to an even number, at least 4.
        seed: Seed of the orders.

    Returns:
        The values (players, rows), and the ends of the interval of each player's mean (players,).
    """
    from scipy.stats import t

    rng = np.random.default_rng(seed)
    pairs = max(2, -(-permutations // 2))
    worths = []
    for _ in range(pairs):
        order = rng.permutation(n)
        # A tolerance of 0 truncates no order: truncated ones would be biased.
        worths.append(_mean_over([order, order[::-1]], value, 0.0))
    means = np.array([worth.mean(axis=1) for worth in worths])
    half = t.ppf(0.975, pairs - 1) * means.std(axis=0, ddof=1) / math.sqrt(pairs)
    worth = np.mean(worths, axis=0)
    return worth, worth.mean(axis=1) - half, worth.mean(axis=1) + half


LEAST_WORTH = 0.01
"""Share of what there is to gain; what is worth less is paid nothing."""
_SURE = 1.0
"""Standard errors over the rows by which a worth must lie above zero."""


def surely(worths: Floats) -> list[float]:
    """Return the mean of each player's worth, 0 where it is too small or may be chance.

    Args:
        worths: (players, rows).
    """
    mean = worths.mean(axis=1)
    error = worths.std(axis=1) / np.sqrt(worths.shape[1])
    sure = (mean >= LEAST_WORTH) & (mean >= _SURE * error)
    return [float(value) for value in np.where(sure, mean, 0.0)]


def to_scores(worths: Mapping[str, float]) -> dict[str, int]:
    """Return whole scores by name: the best has 10,000, unless no worth is positive."""
    best = max(worths.values(), default=0.0)
    if best <= 0:
        return dict.fromkeys(worths, 0)
    return {name: round(WEIGHT_ONE * max(0.0, worth) / best) for name, worth in worths.items()}


def rank_agreement(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation of two scores, ties averaged.

    Args:
        first: Scores (players,).
        second: Scores of the same players.

    Returns:
        -1 to 1. If both scores are constant, 1; if only one is, 0.
    """
    from scipy.stats import spearmanr

    flat = np.ptp(first) < 1e-12, np.ptp(second) < 1e-12
    if any(flat):
        return float(all(flat))
    return float(spearmanr(first, second).statistic)
