"""Sums over questions, each organization's in its own column; what cannot be such sums is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rescind.core import WrongShape, decode, encode
from rescind.core.delta import OutOfBounds
from rescind.core.errors import ConfigError, DataError
from rescind.core.features import HiddenFeatures
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import (
    RouterStatistics,
    WrongReference,
    reference_id,
    reference_tensors,
)
from rescind.core.statistics import NotRowSums, RowStatistics

FEATURES = NgramFeatures(buckets=31)
AGREED = RouterStatistics(features=FEATURES, max_members=3, max_rows=50)
QUESTIONS = ["Where is Ada?", "Who is Ada?", "What does Bela do?", "Is it raining?"]


def rows(count: int = 4) -> np.ndarray:
    return FEATURES.of(QUESTIONS[:count])


def same(one: RowStatistics, other: RowStatistics) -> bool:
    return encode(AGREED.tensors(one)) == encode(AGREED.tensors(other))


def test_an_organization_fills_its_own_column_with_the_sum_of_its_questions() -> None:
    sums = AGREED.collect(rows(), 2)
    tensors = AGREED.tensors(sums)
    assert {name: tensor.shape for name, tensor in tensors.items()} == AGREED.tensor_shapes()
    assert np.array_equal(tensors["router.moments"][:, 2], rows().sum(axis=0))
    assert not tensors["router.moments"][:, :2].any()
    assert np.array_equal(sums.full_gram(), rows().T @ rows())
    AGREED.check_member(sums, 2)


@settings(max_examples=25)
@given(st.permutations(range(3)))
def test_sums_without_a_member_are_those_of_the_others(order: list[int]) -> None:
    posted = {member: AGREED.collect(rows(member + 2), member) for member in range(3)}
    whole = RowStatistics.sum([posted[member] for member in order])
    assert same(whole.without(posted[1]), RowStatistics.sum([posted[0], posted[2]]))


def test_an_artifact_holds_the_sums_and_gives_them_back() -> None:
    sums = AGREED.collect(rows(), 0)
    assert same(AGREED.statistics(decode(encode(AGREED.tensors(sums)))), sums)


def test_sums_in_another_members_column_are_refused() -> None:
    sums = AGREED.collect(rows(), 1)
    with pytest.raises(
        OutOfBounds, match="the column of member 1, and the organization is member 0"
    ):
        AGREED.check_member(sums, 0)
    both = RowStatistics.sum([sums, AGREED.collect(rows(), 0)])
    with pytest.raises(OutOfBounds, match="the column of member 1"):
        AGREED.check_member(both, 0)


def test_a_member_number_without_a_column_is_refused() -> None:
    for member in (-1, 3):
        with pytest.raises(ConfigError, match=f"member {member} has no column"):
            AGREED.collect(rows(), member)
    with pytest.raises(ConfigError, match="agree on a larger max_members"):
        AGREED.check_member(AGREED.collect(rows(), 0), 3)


def test_sums_of_no_rows_are_refused() -> None:
    honest = AGREED.collect(rows(), 0)
    gram = honest.gram.copy()
    gram[0] += 1
    with pytest.raises(NotRowSums, match="4 rows together"):
        AGREED.check_member(replace(honest, gram=gram), 0)
    gram = honest.gram.copy()
    gram[FEATURES.dimensions] -= 4
    with pytest.raises(NotRowSums, match="positive semidefinite"):
        AGREED.check_member(replace(honest, gram=gram), 0)
    with pytest.raises(WrongShape, match="are agreed"):
        AGREED.check_member(RowStatistics(honest.gram[:-1], honest.moments), 0)


def test_more_or_other_questions_than_agreed_are_refused() -> None:
    with pytest.raises(DataError, match="there are 51 rows"):
        AGREED.collect(np.repeat(rows(1), 51, axis=0), 0)
    with pytest.raises(WrongShape, match="32 numbers"):
        AGREED.collect(rows()[:, :5], 0)
    with pytest.raises(OutOfBounds, match="a feature is 7"):
        AGREED.collect(np.where(rows() == -1, 7, rows()), 0)


def test_a_reference_is_the_agreed_one() -> None:
    agreed = AGREED.model_copy(update={"reference": reference_id(rows())})
    assert np.array_equal(agreed.reference_rows(reference_tensors(rows())), rows())
    with pytest.raises(WrongReference, match="the members agreed on"):
        agreed.reference_rows(reference_tensors(rows()[::-1]))


def test_a_reference_too_small_for_a_threshold_is_refused() -> None:
    with pytest.raises(WrongReference, match="has 3 questions: give at least 4"):
        AGREED.reference_rows(reference_tensors(rows(3)))
    with pytest.raises(WrongReference, match="one matrix, 'rows'"):
        AGREED.reference_rows({})


def test_a_router_whose_digest_would_not_bind_is_refused() -> None:
    wide = HiddenFeatures(base_model_id="0" * 64, width=2048, layers=(1,), bound=2**12)
    with pytest.raises(ValidationError, match="lower max_rows or the number of features"):
        RouterStatistics(features=wide, max_rows=2**31)
