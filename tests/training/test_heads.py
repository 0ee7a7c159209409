"""The head is a function of the sums alone, with every solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rescind.core.features import (
    Features,
    HiddenFeatures,
    JoinedFeatures,
    RandomFeatures,
    feature_rows,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics
from rescind.training.heads import (
    NotSolvable,
    Solver,
    WrongHead,
    check_head,
    solve,
    trace_ridge,
)
from rescind.training.ridges import RidgeRule, agreed_ridge

Ints = NDArray[np.int64]


def statistics_of(gram: Ints, moments: Ints) -> RowStatistics:
    return RowStatistics(gram[np.triu_indices(len(gram))], moments)


def random_statistics(rows: int, size: int, classes: int, seed: int = 0) -> RowStatistics:
    dice = np.random.default_rng(seed)
    features = dice.integers(-3, 4, (rows, size))
    features[:, 0] = 1
    targets = np.eye(classes, dtype=np.int64)[dice.integers(0, classes, rows)]
    return RowStatistics.of(features, targets)


def exact(statistics: RowStatistics, ridge: int, scale_bits: int) -> list[list[int]]:
    """Solve by fractions, and round ties to even as Python does."""
    size = statistics.dimensions
    work = [
        [Fraction(int(value)) for value in row]
        + [Fraction(int(value) * 2**scale_bits) for value in right]
        for row, right in zip(
            statistics.full_gram() + ridge * np.eye(size, dtype=np.int64),
            statistics.moments,
            strict=True,
        )
    ]
    for step in range(size):
        pivot = next(row for row in range(step, size) if work[row][step])
        work[step], work[pivot] = work[pivot], work[step]
        work[step] = [value / work[step][step] for value in work[step]]
        for row in range(size):
            if row != step:
                factor = work[row][step]
                work[row] = [a - factor * b for a, b in zip(work[row], work[step], strict=True)]
    return [[round(value) for value in row[size:]] for row in work]


@settings(max_examples=40)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 24),
    st.integers(0, 10**6),
)
def test_weights_are_the_nearest_integers_to_the_exact_solution(
    rows: int, size: int, classes: int, ridge: int, scale_bits: int, seed: int
) -> None:
    statistics = random_statistics(rows, size, classes, seed)
    head = solve(statistics, ridge=ridge, scale_bits=scale_bits)
    assert head.weights.tolist() == exact(statistics, ridge, scale_bits)
    check_head(statistics, head, ridge=ridge)


def test_ties_are_rounded_to_even() -> None:
    # (1 + 1) w = 1, 3, 5, -1, -3: halves, which an exact witness shows.
    gram = np.array([[1]])
    head = solve(statistics_of(gram, np.array([[1, 3, 5, -1, -3]])), ridge=1, scale_bits=0)
    assert head.weights.tolist() == [[0, 2, 2, 0, -2]]


def test_a_tie_beside_a_value_that_no_binary_fraction_reaches_is_rounded_to_even() -> None:
    # The column's residual never vanishes because of the thirds, and the half is a tie all the same.
    gram = np.array([[1, 0], [0, 2]])
    statistics = statistics_of(gram, np.array([[1, 3], [1, 5]]))
    head = solve(statistics, ridge=1, scale_bits=0)
    assert head.weights.tolist() == [[0, 2], [0, 2]]
    assert head.weights.tolist() == exact(statistics, 1, 0)
    check_head(statistics, head, ridge=1)


def solvers(statistics: RowStatistics, ridge: int | None = None) -> dict[str, Solver]:
    size = statistics.dimensions
    ridge = ridge or trace_ridge(statistics)
    matrix = statistics.full_gram() + ridge * np.eye(size, dtype=np.int64)
    inverse = np.linalg.inv(matrix.astype(np.float64))
    factor = torch.linalg.cholesky(torch.from_numpy(matrix.astype(np.float32)))

    def by_torch(right: NDArray[np.float64]) -> NDArray[np.float64]:
        scale = float(np.abs(right).max()) or 1.0
        vector = torch.from_numpy((right / scale).astype(np.float32))
        solution: NDArray[np.float64] = torch.cholesky_solve(vector, factor).double().numpy()
        return solution * scale

    return {"numpy's inverse": lambda right: inverse @ right, "torch in float32": by_torch}


@pytest.mark.parametrize("size", [8, 160])
def test_solvers_of_other_libraries_and_precisions_give_the_same_weights(size: int) -> None:
    statistics = random_statistics(3 * size, size, 5)
    head = solve(statistics)
    for name, solver in solvers(statistics).items():
        other = solve(statistics, solver=solver)
        assert np.array_equal(other.weights, head.weights), name
        check_head(statistics, other)


HIDDEN = HiddenFeatures(base_model_id="a" * 64, width=20, layers=(3, 6), bound=60)
MAPS: dict[str, Features] = {
    "hidden": HIDDEN,
    "random": RandomFeatures(source=HIDDEN, count=70, shift=2),
    "joined": JoinedFeatures(parts=(NgramFeatures(buckets=63), HIDDEN), factors=(16, 1)),
}


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("rule", ["trace", "gcv"])
def test_heads_of_every_map_are_the_same_by_every_solver(name: str, rule: RidgeRule) -> None:
    def states(features: HiddenFeatures, texts: Sequence[str]) -> Ints:
        # As hidden states are: one direction is far larger than the others.
        dice = np.random.default_rng(5)
        means = dice.normal(size=(len(texts), 6)) @ dice.normal(size=(6, 40))
        return features.rounded(means * np.geomspace(4, 0.05, 40))

    texts = [f"text {number} of {number % 7}" for number in range(90)]
    labels = [f"label {number % 3}" for number in range(90)]
    classes = Classes(features=MAPS[name], labels=tuple(sorted(set(labels))), max_rows=100)
    statistics = classes.collect(texts, labels, feature_rows(MAPS[name], texts, states))
    ridge = agreed_ridge(statistics, rule)
    head = solve(statistics, ridge=ridge)
    for solver_name, solver in solvers(statistics, ridge).items():
        other = solve(statistics, ridge=ridge, solver=solver)
        assert np.array_equal(other.weights, head.weights), solver_name
        assert other.id == head.id
        check_head(statistics, other, ridge=ridge)


def test_large_sums_are_solved_exactly_too() -> None:
    small = random_statistics(20, 4, 2, seed=3)
    large = RowStatistics(small.gram * 2**40 + 1, small.moments * 2**40)
    head = solve(large, ridge=2**41, scale_bits=10)
    assert head.weights.tolist() == exact(large, 2**41, 10)


def test_a_head_without_an_organization_is_that_of_a_run_without_it() -> None:
    parts = [random_statistics(40, 12, 3, seed) for seed in range(3)]
    after = solve(RowStatistics.sum(parts).without(parts[1]))
    never = solve(RowStatistics.sum([parts[0], parts[2]]))
    assert after.weights.tobytes() == never.weights.tobytes()


def test_a_class_that_only_a_leaver_had_has_no_weights() -> None:
    classes = Classes(features=NgramFeatures(buckets=15), labels=("a", "b"), max_rows=9)
    stays = classes.collect(["one", "two"], ["a", "a"])
    leaves = classes.collect(["three"], ["b"])
    head = solve(RowStatistics.sum([stays, leaves]).without(leaves))
    assert not head.weights[:, 1].any()
    assert head.weights[:, 0].any()


def test_scores_are_exact() -> None:
    head = solve(random_statistics(30, 6, 3))
    features = np.array([[1, 2, -3, 0, 1, 1]])
    assert head.scores(features).tolist() == [
        [
            sum(int(a) * int(b) for a, b in zip(features[0], column, strict=True))
            for column in head.weights.T
        ]
    ]
    with pytest.raises(NotSolvable, match="64 bits"):
        head.scores(features * 2**60)


WITNESS_CHANGES: dict[str, Callable[[NDArray[np.object_]], NDArray[np.object_]]] = {
    "off by a thousandth": lambda witness: witness + 2**38,
    "zero": lambda witness: witness * 0,
    "cut to fewer bits": lambda witness: witness // 2**40 * 2**40,
}


@pytest.mark.parametrize("name", WITNESS_CHANGES)
def test_a_witness_that_proves_nothing_is_refused(name: str) -> None:
    statistics = random_statistics(30, 6, 3)
    head = solve(statistics)
    with pytest.raises(WrongHead, match="not exact enough"):
        check_head(statistics, replace(head, witness=WITNESS_CHANGES[name](head.witness)))


def test_another_head_is_refused() -> None:
    statistics = random_statistics(30, 6, 3)
    head = solve(statistics)
    weights = head.weights.copy()
    weights[2, 1] += 1
    with pytest.raises(WrongHead, match="weight 2 of class 1"):
        check_head(statistics, replace(head, weights=weights))
    with pytest.raises(WrongHead, match="ridge"):
        check_head(statistics, head, ridge=head.ridge + 1)
    with pytest.raises(WrongHead, match="shape"):
        check_head(statistics, replace(head, weights=head.weights[:2]))
    with pytest.raises(WrongHead, match="more bits"):
        check_head(statistics, replace(head, extra_bits=-1))
    with pytest.raises(WrongHead, match=r"not exact enough|statistics give"):
        check_head(random_statistics(30, 6, 3, seed=1), head, ridge=head.ridge)


def test_what_cannot_be_solved_is_one_clear_error() -> None:
    statistics = random_statistics(30, 6, 3)
    for ridge in (0, -1):
        with pytest.raises(NotSolvable, match="at least 1"):
            solve(statistics, ridge=ridge)
    with pytest.raises(NotSolvable, match="no rows"):
        solve(statistics.without(statistics))
    for factor in (2, np.nan):
        with pytest.raises(NotSolvable, match="do not shrink"):
            solve(statistics, solver=lambda right, factor=factor: right * factor)
    with pytest.raises(NotSolvable, match=r"2\^62"):
        solve(RowStatistics(statistics.gram * 2**56, statistics.moments))
    with pytest.raises(NotSolvable, match="lower scale_bits"):
        solve(RowStatistics(statistics.gram, statistics.moments * 2**40), scale_bits=40)
