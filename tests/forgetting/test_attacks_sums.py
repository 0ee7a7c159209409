"""Attacks on posted sums, and how agreed noise and bounds change them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rescind.core.features import RandomFeatures
from rescind.core.ngrams import NgramFeatures, fold, words_of
from rescind.core.statistics import Classes, RowStatistics
from rescind.core.statistics_noise import GaussianNoise, Posting, add_noise, lifted, tolerance
from rescind.forgetting.attacks import find_rows, leverages, word_counts
from rescind.forgetting.attacks.spelling import Speller

LABELS = ("card", "loan", "rate")
CLASSES = Classes(features=NgramFeatures(buckets=767), labels=LABELS)
_WHO = ("my brother", "Ada Novak", "our firm", "a friend", "my landlord", "the bank in Graz")
_DID = ("lost", "paid for", "asked about", "was charged twice for", "cannot open", "returned")
_WHAT = ("a new card", "the car loan", "two invoices", "rent", "the savings account", "a phone")
_WHEN = ("today", "last Friday", "in March", "before the holiday", "an hour ago", "at noon")


def rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return made-up questions with labels."""
    dice = random.Random(seed)
    texts = [f"{a} {b} {c} {d}." for a in _WHO for b in _DID for c in _WHAT for d in _WHEN]
    return [(text, dice.choice(LABELS)) for text in dice.sample(texts, count)]


def posted(rows: list[tuple[str, str]], classes: Classes = CLASSES) -> RowStatistics:
    return classes.collect([text for text, _ in rows], [label for _, label in rows])


DICTIONARY = [
    word for part in (_WHO, _DID, _WHAT, _WHEN) for text in part for word in words_of(text)
]


def test_a_few_rows_are_read_from_their_sums_letter_for_letter() -> None:
    held = rows(3)
    found = find_rows(posted(held))
    assert found.left == 0
    speller = Speller(CLASSES.features, [*DICTIONARY, ".", "unused"])
    texts = [speller.spell(row) for row in found.features]
    labels = [LABELS[place] for place in found.labels]
    assert sorted(zip(texts, labels, strict=True)) == sorted((fold(t), y) for t, y in held)


def test_the_difference_of_two_published_sums_is_what_the_leaver_posted() -> None:
    leaver, others = rows(60)[:6], rows(60)[6:]
    before = RowStatistics.sum([posted(others), posted(leaver)])
    difference = before.without(posted(others))
    assert np.array_equal(difference.gram, posted(leaver).gram)
    assert np.array_equal(difference.moments, posted(leaver).moments)
    assert len(find_rows(difference).features) == 6


def test_rows_that_are_found_are_right_and_those_of_many_are_not_found() -> None:
    held = rows(120)
    small = Classes(features=NgramFeatures(buckets=127), labels=LABELS)
    found = find_rows(posted(held, small))
    assert found.left >= 118
    assert len(found.features) + found.left == 120


def test_members_are_in_the_span_and_others_are_not() -> None:
    held, others = rows(200)[:30], rows(200)[30:60]
    sums = posted(held)
    own = leverages(sums, CLASSES.features.of([text for text, _ in held]))
    foreign = leverages(sums, CLASSES.features.of([text for text, _ in others]))
    places = [LABELS.index(label) for _, label in held]
    assert np.array_equal(own.argmin(axis=1), places)
    assert own.min(axis=1).max() <= 1 + 1e-6
    assert foreign.min() > 10


def test_random_projections_do_not_hide_members_while_rows_are_fewer_than_features() -> None:
    projected = Classes(
        features=RandomFeatures(source=CLASSES.features, count=128, function="sign"), labels=LABELS
    )
    held, others = rows(200)[:30], rows(200)[30:60]
    sums = posted(held, projected)

    def least(rows: list[tuple[str, str]]) -> np.ndarray:
        features = projected.features
        assert isinstance(features, RandomFeatures)
        texts = [text for text, _ in rows]
        return leverages(sums, features.projected(CLASSES.features.of(texts))).min(axis=1)

    assert len(find_rows(sums).features) == 0
    assert least(held).max() <= 1 + 1e-6 < least(others).min()


def test_words_are_counted_by_label() -> None:
    held = rows(40)
    words = ["landlord", "holiday", "zebra"]
    for word, counts in zip(words, word_counts(posted(held), CLASSES.features, words), strict=True):
        true = [sum(word in text for text, own in held if own == label) for label in LABELS]
        assert counts.tolist() == pytest.approx(true, abs=2)


def test_noise_leaves_no_row_and_hardly_a_member() -> None:
    bounded = CLASSES.model_copy(update={"row_square": 96})
    deviations = GaussianNoise(epsilon=4.0, delta=1e-6).deviations(bounded)
    held, others = rows(200)[:30], rows(200)[30:60]
    noisy = add_noise(
        posted(held, bounded),
        deviations,
        secret=bytes(range(32)),
        posting=Posting(1, ""),
        task="questions",
    )
    slack = tolerance(bounded, deviations)
    assert len(find_rows(noisy).features) == 0
    sums = lifted(noisy, slack, 1)
    own, foreign = (
        leverages(sums, bounded.features.of([text for text, _ in some]), ridge=slack.spectrum)
        for some in (held, others)
    )
    below = (own.min(axis=1)[:, None] < foreign.min(axis=1)[None, :]).mean()
    assert 0.2 < below < 0.8
