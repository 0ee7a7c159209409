import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.agents.payout import LEAVE_ONE_OUT, SHAPLEY, worths
from rescind.aggregator.shapley import (
    Remembered,
    guided,
    leave_one_out,
    rank_agreement,
    shapley,
    truncated_monte_carlo,
)


def game(n: int, seed: int, rows: int = 3):
    """Return a monotone value: the most that a member of the coalition knows of each row."""
    knows = np.random.default_rng(seed).random((n, rows))
    return Remembered(lambda s: knows[sorted(s)].max(axis=0), rows)


def by_permutations(n: int, value) -> np.ndarray:
    total = np.zeros((n, 3))
    orders = list(itertools.permutations(range(n)))
    for order in orders:
        for position, i in enumerate(order):
            before = value(frozenset(order[:position]))
            total[i] += value(frozenset(order[: position + 1])) - before
    return total / len(orders)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shapley_is_the_mean_over_all_orders(n: int) -> None:
    value = game(n, seed=n)
    assert shapley(n, value) == pytest.approx(by_permutations(n, value))
    assert value.asked == 2**n - 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_shapley_divides_the_whole_value_and_gives_nothing_for_nothing(n: int, seed: int) -> None:
    inner = game(n, seed)
    value = Remembered(lambda s: inner(frozenset(i for i in s if i < n)), 3)
    shares = shapley(n + 1, value)
    assert shares.sum(axis=0) == pytest.approx(inner(frozenset(range(n))))
    assert shares[n] == pytest.approx(0)


def test_the_fast_methods_rank_as_the_exact_one() -> None:
    agreement: dict[str, list[float]] = {"tmc": [], "guided": []}
    for seed in range(20):
        value = game(6, seed)
        exact = shapley(6, value).mean(axis=1)
        tmc = truncated_monte_carlo(6, value, permutations=240, tolerance=0.01, seed=seed)
        fast = guided(6, value, permutations=240, tolerance=0.01, round_tolerance=0.01, seed=seed)
        agreement["tmc"].append(rank_agreement(exact, tmc.mean(axis=1)))
        agreement["guided"].append(rank_agreement(exact, fast.mean(axis=1)))
    assert np.mean(agreement["tmc"]) > 0.9
    assert np.mean(agreement["guided"]) > 0.9


def test_every_player_gets_nothing_for_a_round_without_gain() -> None:
    value = Remembered(lambda s: np.full(3, 0.001 * len(s)), 3)
    shares = guided(4, value, permutations=8, tolerance=0.0, round_tolerance=0.01, seed=0)
    assert not shares.any()
    assert value.asked == 1


def test_truncation_evaluates_fewer_coalitions() -> None:
    def value():
        return Remembered(lambda s: np.ones(3) * (0 in s), 3)

    whole, cut = value(), value()
    truncated_monte_carlo(8, whole, permutations=10, tolerance=0.0, seed=0)
    truncated_monte_carlo(8, cut, permutations=10, tolerance=0.1, seed=0)
    assert cut.asked < whole.asked


def test_exact_values_of_too_many_players_are_refused() -> None:
    with pytest.raises(ValueError, match="2\\^21"):
        shapley(21, game(2, 0))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0, 3.0), min_size=1, max_size=6),
    st.floats(0.5, 20.0),
)
def test_the_games_closed_forms_are_the_coalitions_values(gains: list[float], scale: float) -> None:
    n, marginal = len(gains), np.array(gains)
    value = Remembered(lambda s: np.array([1 - np.exp(-marginal[sorted(s)].sum() / scale)]), 1)
    for rule, exact in ((SHAPLEY, shapley), (LEAVE_ONE_OUT, leave_one_out)):
        out = np.zeros(n)
        worths(rule, marginal.copy(), marginal, n, scale, out)
        assert out == pytest.approx(exact(n, value)[:, 0], abs=1e-9)


def test_rank_agreement_is_1_for_the_same_order_and_minus_1_for_the_reverse() -> None:
    assert rank_agreement(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert rank_agreement(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)


def test_equal_values_agree_with_equal_values_only() -> None:
    assert rank_agreement(np.ones(3), np.ones(3)) == 1
    assert rank_agreement(np.ones(3), np.array([1.0, 2, 3])) == 0
