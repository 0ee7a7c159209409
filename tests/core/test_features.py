"""Feature maps give the agreed integers, and refuse what they were not agreed for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from rescind.core.delta import OutOfBounds, WrongShape
from rescind.core.errors import DataError
from rescind.core.features import (
    Features,
    FeaturesOfAnotherBase,
    HiddenFeatures,
    JoinedFeatures,
    NeedsBase,
    RandomFeatures,
    check_base,
    checked_rows,
    feature_rows,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics, check

BASE = "a" * 64
NGRAMS = NgramFeatures(buckets=63)
HIDDEN = HiddenFeatures(base_model_id=BASE, width=4, layers=(3, 6), bound=20)
RELU = RandomFeatures(source=NGRAMS, count=40, seed=7)
SIGN = RandomFeatures(source=NGRAMS, count=40, seed=7, function="sign")
JOINED = JoinedFeatures(parts=(NGRAMS, HIDDEN, RELU), factors=(5, 1, 2))
TEXTS = ["Where is my card?", "I want a loan", ""]


def states(features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
    """Stand for a base model: states that are a function of the text's length."""
    means = np.array([[len(text) / 16 + place for place in range(8)] for text in texts])
    return features.rounded(means.reshape(len(texts), 8))


@pytest.mark.parametrize("features", [NGRAMS, HIDDEN, RELU, SIGN, JOINED])
def test_rows_are_as_wide_and_as_large_as_the_map_says(features: Features) -> None:
    rows = feature_rows(features, TEXTS, states)
    assert rows.shape == (3, features.dimensions)
    assert np.all(rows[:, 0] == 1)
    assert np.abs(rows).max() <= features.largest
    assert (rows**2).sum(axis=1).max() <= features.largest_square
    assert np.array_equal(checked_rows(features, rows), rows)


@pytest.mark.parametrize("features", [NGRAMS, HIDDEN, RELU, SIGN, JOINED])
def test_a_map_is_found_again_in_its_json(features: Features) -> None:
    union: TypeAdapter[Features] = TypeAdapter(Features)
    assert union.validate_json(union.dump_json(features)) == features


def test_random_features_are_pinned() -> None:
    data = [feature_rows(each, TEXTS).astype("<i8").tobytes() for each in (RELU, SIGN)]
    assert [hashlib.sha256(each).hexdigest() for each in data] == PINNED


PINNED = [
    "92a5b3b443a29f30d8bb73ee2bb6d5ce0a1f365f84d6d574bdeac8af1f41f959",
    "65ca9121a8247f546765b57311255a8c196124c3a08cd4c9e1b09d5679d91e77",
]


def test_random_features_are_functions_of_sums_with_signs() -> None:
    wide = RandomFeatures(source=NGRAMS, count=200, shift=1, bound=2)
    signs = RandomFeatures(source=NGRAMS, count=200, function="sign")
    relu, sign = feature_rows(wide, TEXTS), feature_rows(signs, TEXTS)
    assert set(relu[:, 1:].ravel().tolist()) == {0, 1, 2}
    assert set(sign[:, 1:].ravel().tolist()) == {-1, 1}
    # Where a ReLU is not zero, its projection is positive: the same seed gives the same projection.
    assert np.all(sign[:, 1:][relu[:, 1:] > 0] == 1)
    other = RandomFeatures(source=NGRAMS, count=200, function="sign", seed=1)
    assert not np.array_equal(feature_rows(other, TEXTS), sign)


def test_joined_features_are_those_of_the_parts_times_their_factors() -> None:
    rows = feature_rows(JOINED, TEXTS, states)
    parts = [feature_rows(part, TEXTS, states)[:, 1:] for part in JOINED.parts]
    assert np.array_equal(rows[:, 1:], np.hstack([parts[0] * 5, parts[1], parts[2] * 2]))


def test_hidden_states_are_scaled_centered_rounded_and_cut() -> None:
    features = HiddenFeatures(
        base_model_id=BASE, width=3, layers=(1,), scale=10, bound=15, centers=(1, 0, -2)
    )
    means = np.array([[0.5, -9.0, 1.04], [0.05, 0.25, -0.31]])
    assert features.rounded(means).tolist() == [[1, 4, -15, 12], [1, -1, 2, -1]]
    with pytest.raises(DataError, match="not numbers"):
        features.rounded(np.array([[1.0, np.nan, 0.0]]))
    assert features.rounded(np.array([[1e300, -1e300, 0.0]])).tolist() == [[1, 15, -15, 2]]


def test_a_map_of_hidden_states_needs_the_base() -> None:
    for features in (HIDDEN, JOINED, RandomFeatures(source=HIDDEN, count=5)):
        with pytest.raises(NeedsBase, match="was not loaded"):
            feature_rows(features, TEXTS)
    with pytest.raises(NeedsBase):
        Classes(features=HIDDEN, labels=("a", "b"), max_rows=9).collect(["x"], ["a"])


def test_a_map_of_another_base_is_refused() -> None:
    for features in (HIDDEN, JOINED, RandomFeatures(source=HIDDEN, count=5)):
        check_base(features, BASE)
        with pytest.raises(FeaturesOfAnotherBase, match="Agree on a map of this base"):
            check_base(features, "b" * 64)
    for plain in (NGRAMS, RELU):
        check_base(plain, "b" * 64)


def test_rows_that_the_map_cannot_give_are_refused() -> None:
    rows = feature_rows(HIDDEN, TEXTS, states)
    with pytest.raises(WrongShape, match="gives 9 numbers"):
        checked_rows(HIDDEN, rows[:, :5])
    with pytest.raises(WrongShape, match="float64"):
        checked_rows(HIDDEN, rows.astype(np.float64))
    with pytest.raises(OutOfBounds, match="a feature is 40"):
        checked_rows(HIDDEN, rows * np.array([1] + [2] * 8))
    with pytest.raises(OutOfBounds, match="begin with 1"):
        checked_rows(HIDDEN, rows * 0)
    with pytest.raises(OutOfBounds):
        feature_rows(HIDDEN, TEXTS, lambda features, texts: states(features, texts) * 0)


@pytest.mark.parametrize("features", [HIDDEN, RELU, SIGN, JOINED])
def test_statistics_of_every_map_pass_the_check(features: Features) -> None:
    classes = Classes(features=features, labels=("card", "loan"), max_rows=100)
    rows = feature_rows(features, TEXTS, states)
    statistics = classes.collect(TEXTS, ["card", "loan", "card"], rows)
    check(statistics, classes)
    assert np.array_equal(statistics.full_gram(), rows.T @ rows)


def test_texts_labels_and_rows_must_be_as_many() -> None:
    classes = Classes(features=NGRAMS, labels=("card", "loan"), max_rows=100)
    with pytest.raises(DataError, match="3 texts, 1 labels"):
        classes.collect(TEXTS, ["card"])
    with pytest.raises(DataError, match="3 texts, 3 labels and 2 feature rows"):
        classes.collect(TEXTS, ["card"] * 3, NGRAMS.of(TEXTS)[:2])


def test_statistics_of_another_map_are_refused() -> None:
    classes = Classes(features=HIDDEN, labels=("card", "loan"), max_rows=100)
    rows = feature_rows(HIDDEN, TEXTS, states)
    rows[:, 1:] *= 40
    large = RowStatistics.of(rows, np.array([[1, 0], [0, 1], [1, 0]]))
    with pytest.raises(OutOfBounds, match="trace"):
        check(large, classes)


def changed(features: Features, **change: object) -> dict[str, object]:
    return {**features.model_dump(), **change}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed(HIDDEN, layers=(6, 3)), "ascending order"),
        (changed(HIDDEN, layers=()), "at least 1"),
        (changed(HIDDEN, centers=(1, 2)), "2 centers for 8 numbers"),
        (changed(HIDDEN, base_model_id="x"), "pattern"),
        (changed(HIDDEN, bound=2**15), "less than or equal"),
        (changed(HIDDEN, scale=0), "greater than or equal"),
        (changed(RELU, source=JOINED.model_dump()), "does not match"),
        (changed(RELU, count=2**13), "less than or equal"),
        (changed(RELU, function="tanh"), "relu"),
        (changed(JOINED, parts=(NGRAMS.model_dump(),), factors=()), "at least 2"),
        (changed(JOINED, factors=(1, 2)), "2 factors for 3 parts"),
        ({"kind": "unknown"}, "does not match"),
    ],
)
def test_maps_that_make_no_sense_are_refused(document: dict[str, object], message: str) -> None:
    union: TypeAdapter[Features] = TypeAdapter(Features)
    with pytest.raises(ValidationError, match=message):
        union.validate_python(document)


def test_more_features_than_a_head_is_solved_for_are_refused() -> None:
    wide = JoinedFeatures(parts=(NgramFeatures(buckets=2**12), NgramFeatures(buckets=2**12)))
    with pytest.raises(ValidationError, match="a head is solved for at most 8192"):
        Classes(features=wide, labels=("a", "b"), max_rows=9)


def test_sums_that_would_be_too_long_for_their_digest_are_refused() -> None:
    large = HiddenFeatures(base_model_id=BASE, width=576, layers=(6,), bound=2**15 - 1)
    with pytest.raises(ValidationError, match="lower max_rows"):
        Classes(features=large, labels=("a", "b"), max_rows=10_000)
