"""Sums over rows add up, and what cannot be such sums is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rescind.core import WrongShape, artifact_id, decode, encode
from rescind.core.delta import OutOfBounds
from rescind.core.errors import DataError
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import (
    Classes,
    NotRowSums,
    RowStatistics,
    UnknownLabel,
    check,
)

CLASSES = Classes(features=NgramFeatures(buckets=31), labels=("card", "loan", "rate"), max_rows=50)
ROWS = [
    ("Where is my card?", "card"),
    ("My card is lost", "card"),
    ("I want a loan", "loan"),
    ("What does a loan cost?", "loan"),
    ("Is the rate fixed?", "rate"),
]


def collected(rows: list[tuple[str, str]]) -> RowStatistics:
    return CLASSES.collect([text for text, _ in rows], [label for _, label in rows])


def same(one: RowStatistics, other: RowStatistics) -> bool:
    return encode(one.tensors()) == encode(other.tensors())


def test_sums_are_those_of_their_definition() -> None:
    statistics = collected(ROWS)
    features = CLASSES.features.of([text for text, _ in ROWS])
    assert np.array_equal(statistics.full_gram(), features.T @ features)
    for place, label in enumerate(CLASSES.labels):
        rows_of_label = [row for row, (_, own) in zip(features, ROWS, strict=True) if own == label]
        assert np.array_equal(statistics.moments[:, place], sum(rows_of_label))
    assert statistics.counts.tolist() == [2, 2, 1]
    assert statistics.rows == 5
    assert statistics.trace == int((features**2).sum())


@settings(max_examples=25)
@given(st.lists(st.sampled_from(ROWS), max_size=20), st.integers(0, 20), st.randoms())
def test_a_sum_is_that_of_all_rows_and_without_a_part_that_of_the_rest(
    rows: list[tuple[str, str]], cut: int, dice: object
) -> None:
    left, right = rows[:cut], rows[cut:]
    shuffled = list(rows)
    dice.shuffle(shuffled)
    whole = RowStatistics.sum([collected(right), collected(left)])
    assert same(whole, collected(shuffled))
    assert same(whole.without(collected(left)), collected(right))


def test_an_artifact_holds_them_and_gives_them_back() -> None:
    data = encode(collected(ROWS).tensors())
    assert same(RowStatistics.of_tensors(decode(data)), collected(ROWS))
    assert artifact_id(data) == artifact_id(encode(collected(ROWS[::-1]).tensors()))


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_honest_statistics_pass(rows: list[tuple[str, str]]) -> None:
    check(collected(rows), CLASSES)


def changed(place: int, by: int) -> RowStatistics:
    honest = collected(ROWS)
    gram = honest.gram.copy()
    gram[place] += by
    return replace(honest, gram=gram)


def moved(row: int, column: int, by: int) -> RowStatistics:
    honest = collected(ROWS)
    moments = honest.moments.copy()
    moments[row, column] += by
    return replace(honest, moments=moments)


def test_sums_of_no_rows_are_refused() -> None:
    size = CLASSES.features.dimensions
    with pytest.raises(NotRowSums, match="5 rows together"):
        check(changed(0, 1), CLASSES)
    with pytest.raises(NotRowSums, match="6 rows together"):
        check(moved(0, 0, 1), CLASSES)
    with pytest.raises(NotRowSums, match="positive semidefinite"):
        check(changed(size, -4), CLASSES)
    with pytest.raises(NotRowSums, match="positive semidefinite"):
        check(changed(3, 9), CLASSES)
    with pytest.raises(NotRowSums, match="positive semidefinite"):
        check(moved(4, 2, 3), CLASSES)
    with pytest.raises(OutOfBounds, match="trace"):
        check(changed(size, 10_000), CLASSES)
    with pytest.raises(OutOfBounds, match="trace of G is -"):
        check(changed(size, -10_000), CLASSES)
    with pytest.raises(OutOfBounds, match="entry of Q"):
        check(moved(4, 2, 30), CLASSES)
    with pytest.raises(OutOfBounds, match="0 to 50 are agreed"):
        check(changed(0, 46), CLASSES)
    with pytest.raises(NotRowSums, match="the least one -1"):
        check(replace(moved(0, 2, -2), gram=changed(0, -2).gram), CLASSES)


def test_a_class_without_rows_has_no_sums() -> None:
    statistics = collected(ROWS[:4])
    moments = statistics.moments.copy()
    moments[3, 2] = 1
    with pytest.raises(NotRowSums, match="without rows"):
        check(replace(statistics, moments=moments), CLASSES)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(WrongShape, match="are agreed"):
        check(collected(ROWS), CLASSES.model_copy(update={"labels": ("card", "loan")}))


def test_a_label_that_nobody_agreed_on_is_refused() -> None:
    with pytest.raises(UnknownLabel, match="row 2 has the label 'pin', which is not one of the 3"):
        collected([ROWS[0], ("My pin", "pin")])


def test_more_rows_than_agreed_are_refused() -> None:
    with pytest.raises(DataError, match="there are 51 rows"):
        collected([ROWS[0]] * 51)


def test_an_organization_with_few_rows_posts_nothing() -> None:
    least = CLASSES.model_copy(update={"min_rows": 5})
    check(collected(ROWS), least)
    check(collected([]), least)
    with pytest.raises(OutOfBounds, match=r"there are 4 rows, and .* fewer than 5 posts nothing"):
        check(collected(ROWS[:4]), least)


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"labels": ("b", "a")}, "ascending order"),
        ({"labels": ("a", "a")}, "ascending order"),
        ({"labels": ("a",)}, "at least 2"),
        ({"labels": ("a", "b"), "min_rows": 9, "max_rows": 8}, "min_rows is 9, and max_rows 8"),
        (
            {
                "labels": ("a", "b"),
                "max_rows": 2**31,
                "features": {"kind": "ngrams", "buckets": 2**14},
            },
            "lower max_rows",
        ),
    ],
)
def test_a_task_that_cannot_be_is_refused(different: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Classes.model_validate(different)


def test_sums_that_may_not_be_exact_are_refused() -> None:
    with pytest.raises(OutOfBounds, match=r"2\^53"):
        RowStatistics.of(np.full((2, 3), 2**27), np.eye(2, 3, dtype=np.int64))


@pytest.mark.parametrize("value", [2**62, 2**63 - 1])
def test_a_trace_that_does_not_fit_64_bits_is_not_taken_for_a_small_one(value: int) -> None:
    """Modulo 2^64 the four come to at most -4."""
    honest = collected(ROWS)
    gram, size = honest.gram.copy(), honest.dimensions
    diagonal = np.cumsum([0, *range(size, 1, -1)])
    gram[diagonal[1 : 1 + 2**64 // value]] = value
    with pytest.raises(OutOfBounds, match="the trace of G is"):
        check(replace(honest, gram=gram), CLASSES)


def test_the_least_integer_is_not_taken_for_a_small_entry() -> None:
    """Its absolute value does not fit 64 bits, and stays negative."""
    honest = collected(ROWS)
    moments = honest.moments.copy()
    moments[3, 0] = -(2**63)
    with pytest.raises(OutOfBounds, match="an entry of Q is larger than 5 rows allow"):
        check(replace(honest, moments=moments), CLASSES)
