"""A router's weights are a function of integer sums: the same numbers from any order and history."""

from __future__ import annotations

import numpy as np
import pytest

from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics import RowStatistics
from rescind.training.router_head import SCALE_BITS, RouterHead, solve_router

FEATURES = NgramFeatures(buckets=127)
AGREED = RouterStatistics(features=FEATURES, max_members=4, false_rate=0.1)
TOPICS = ("violins", "harbours", "glaciers")


def questions(topic: str, count: int) -> np.ndarray:
    return FEATURES.of([f"What is known about {topic} of kind {n}?" for n in range(count)])


@pytest.fixture(scope="module")
def posted() -> list[RowStatistics]:
    return [AGREED.collect(questions(topic, 12), n) for n, topic in enumerate(TOPICS)]


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    asked = ("Who won game {} of the season?", "How is dish {} cooked?", "Is town {} far?")
    return FEATURES.of([asked[n % 3].format(n) for n in range(42)])


def same(one: RouterHead, other: RouterHead) -> bool:
    return (
        one.members == other.members
        and one.threshold == other.threshold
        and one.weights.tobytes() == other.weights.tobytes()
    )


def test_each_topic_goes_to_its_organization_and_others_to_none(posted, reference) -> None:
    head = solve_router(AGREED, RowStatistics.sum(posted), reference, range(3))
    for number, topic in enumerate(TOPICS):
        scores = head.scores(questions(topic, 20)[12:])
        assert (scores.argmax(axis=1) == number).all()
        assert (scores.max(axis=1) > head.threshold).all()
    strangers = head.scores(FEATURES.of([f"Who won game {n} of the year?" for n in range(50, 70)]))
    assert np.mean(strangers.max(axis=1) > head.threshold) < 0.5


def test_a_removal_gives_the_numbers_of_a_run_that_never_had_the_member(posted, reference) -> None:
    rest = RowStatistics.sum(posted).without(posted[1])
    never = RowStatistics.sum([posted[2], posted[0]])
    head = solve_router(AGREED, rest, reference, range(4))
    assert head.members == (0, 2)
    assert same(head, solve_router(AGREED, never, reference, (2, 0)))


def test_every_column_has_the_same_length(posted, reference) -> None:
    head = solve_router(AGREED, RowStatistics.sum(posted), reference, range(3))
    lengths = np.linalg.norm(head.weights.astype(np.float64), axis=0)
    np.testing.assert_allclose(lengths, 2.0**SCALE_BITS, rtol=1e-5)


def test_at_most_the_agreed_share_of_the_checked_reference_goes_to_a_block(
    posted, reference
) -> None:
    checked = reference[len(reference) // 2 :]
    for rate in (0.0, 0.1, 0.5):
        agreed = AGREED.model_copy(update={"false_rate": rate})
        head = solve_router(agreed, RowStatistics.sum(posted), reference, range(3))
        assert np.mean(head.scores(checked).max(axis=1) > head.threshold) <= rate


def test_weights_are_those_of_ridge_regression(posted, reference) -> None:
    """Written out in floats: (A + A_0 + ridge I)^-1 [b_0 | b_i], columns of length one."""
    total = RowStatistics.sum(posted)
    known = reference[:21].astype(float)
    gram = total.full_gram() + known.T @ known
    ridge = max(1, int(np.trace(gram)) // len(gram))
    right = np.column_stack([known.sum(axis=0), total.moments[:, :3]])
    expected = np.linalg.solve(gram + ridge * np.eye(len(gram)), right)
    expected /= np.linalg.norm(expected, axis=0)
    head = solve_router(AGREED, total, reference, range(3))
    np.testing.assert_allclose(head.weights / 2.0**SCALE_BITS, expected, atol=1e-6)


def test_without_members_no_block_can_answer(reference) -> None:
    shapes = AGREED.columns.shapes().values()
    none = RowStatistics(*(np.zeros(shape, dtype=np.int64) for shape in shapes))
    head = solve_router(AGREED, none, reference, range(4))
    assert head.members == ()
    assert head.scores(reference).shape == (42, 0)
