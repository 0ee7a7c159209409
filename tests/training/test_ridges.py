"""The ridge is a function of the sums alone."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rescind.core.statistics import RowStatistics
from rescind.training.ridges import (
    agreed_ridge,
    gcv_ridge,
    ridge_grid,
    trace_ridge,
)

Rows = tuple[NDArray[np.int64], NDArray[np.int64]]


def rows_of(rows: int, size: int, classes: int, seed: int, largest: int = 3) -> Rows:
    dice = np.random.default_rng(seed)
    labels = dice.integers(0, classes, rows)
    features = dice.integers(-largest, largest + 1, (rows, size))
    # A class shifts some features, so that there is something to learn.
    features[:, 1:4] += labels[:, None] * largest // 2
    features[:, 0] = 1
    return features, np.eye(classes, dtype=np.int64)[labels]


def scores_by_floats(features: NDArray[np.int64], targets: NDArray[np.int64]) -> dict[int, float]:
    """Return the score of each ridge of the grid from its definition, by the hat matrix."""
    result = {}
    for ridge in ridge_grid(RowStatistics.of(features, targets)):
        inverse = np.linalg.inv(features.T @ features + ridge * np.eye(features.shape[1]))
        hat = features @ inverse @ features.T
        residual = targets - hat @ targets
        result[ridge] = float((residual**2).sum() / (len(features) - np.trace(hat)) ** 2)
    return result


def first_minimum(scores: dict[int, float], start: int) -> int:
    grid = sorted(scores)
    place = grid.index(start)
    for direction in (-1, 1):
        first = place
        while (
            0 <= place + direction < len(grid)
            and scores[grid[place + direction]] < scores[grid[place]]
        ):
            place += direction
        if place != first:
            break
    return grid[place]


@pytest.mark.parametrize(
    ("rows", "size", "largest"), [(60, 8, 3), (12, 20, 3), (200, 30, 1), (40, 40, 127)]
)
def test_cross_validation_chooses_by_the_score_of_its_definition(
    rows: int, size: int, largest: int
) -> None:
    features, targets = rows_of(rows, size, 3, seed=rows, largest=largest)
    statistics = RowStatistics.of(features, targets)
    wanted = first_minimum(scores_by_floats(features, targets), trace_ridge(statistics))
    assert gcv_ridge(statistics) == wanted == agreed_ridge(statistics, "gcv")


@settings(max_examples=15)
@given(st.integers(1, 30), st.integers(4, 10), st.integers(2, 4), st.integers(0, 10**6))
def test_integers_choose_the_ridge_that_floats_choose(
    rows: int, size: int, classes: int, seed: int
) -> None:
    statistics = RowStatistics.of(*rows_of(rows, size, classes, seed))
    assert gcv_ridge(statistics) == gcv_ridge(statistics, floats=False)


def test_the_choice_is_neither_always_the_largest_nor_the_smallest_ridge() -> None:
    clear = RowStatistics.of(*rows_of(400, 6, 3, seed=1, largest=9))
    noise = RowStatistics.of(*rows_of(30, 25, 2, seed=2, largest=1))
    places = [ridge_grid(each).index(gcv_ridge(each)) for each in (clear, noise)]
    assert places[0] != places[1]


def test_sums_too_large_for_floats_are_compared_by_integers() -> None:
    small = RowStatistics.of(*rows_of(20, 5, 2, seed=4))
    large = RowStatistics(small.gram * 2**44, small.moments * 2**22)
    places = [ridge_grid(each).index(gcv_ridge(each)) for each in (small, large)]
    # Features times 2^22 are the same features: only the constant's is another.
    assert len(ridge_grid(large)) >= len(ridge_grid(small))
    assert trace_ridge(large) == Fraction(small.trace * 2**44, small.dimensions).__floor__()
    assert places[1] >= places[0]


@pytest.mark.parametrize("lift", [7, 400])
def test_sums_with_noise_have_one_choice_too(lift: int) -> None:
    statistics = RowStatistics.of(*rows_of(25, 8, 3, seed=6))
    dice = np.random.default_rng(6)
    moments = statistics.moments + dice.integers(-9, 10, statistics.moments.shape)
    gram = statistics.gram.copy()
    gram[np.cumsum([0, *range(8, 1, -1)])] += lift
    noisy = RowStatistics(gram, moments)
    assert gcv_ridge(noisy) == gcv_ridge(noisy, floats=False)


def test_scores_that_are_equal_keep_the_ridge_of_the_trace() -> None:
    # No feature but the constant, and no label but one: every ridge fits alike at the limit.
    nothing = RowStatistics.of(np.ones((0, 3), dtype=np.int64), np.ones((0, 2), dtype=np.int64))
    assert gcv_ridge(nothing) == trace_ridge(nothing) == 1


def test_the_ridge_of_the_trace_is_the_mean_of_the_diagonal() -> None:
    statistics = RowStatistics.of(*rows_of(50, 6, 2, seed=5))
    assert agreed_ridge(statistics) == statistics.trace // 6
    assert trace_ridge(RowStatistics.of(*rows_of(1, 4, 2, seed=1, largest=0))) == 1
