"""Noise on statistics: what it bounds, when it is drawn again, and what others still refuse."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rescind.core import encode
from rescind.core.delta import OutOfBounds
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import GRAM, MOMENTS, Classes, NotRowSums, RowStatistics, check
from rescind.core.statistics_noise import (
    GaussianNoise,
    NoiseSpent,
    NoRowSquare,
    Posting,
    TooManyRowsOfAPerson,
    add_noise,
    budget_record,
    check_people,
    lifted,
    next_posting,
    tolerance,
)
from rescind.training.heads import check_head, solve, trace_ridge

CLASSES = Classes(
    features=NgramFeatures(buckets=63), labels=("card", "loan"), max_rows=5000, row_square=16
)
NOISE = GaussianNoise(epsilon=4.0, delta=1e-6, postings=2)
SECRET = bytes(range(32))
FIRST = Posting(1, "00")
WORDS = ("card", "lost", "loan", "rate", "open", "pay", "fee", "bank", "new", "old")


def rows(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    dice = np.random.default_rng(seed)
    labels = [CLASSES.labels[place] for place in dice.integers(0, 2, count)]
    return [f"my {' '.join(dice.choice(WORDS, 4))} {label}" for label in labels], labels


def posted(statistics: RowStatistics, posting: Posting = FIRST) -> RowStatistics:
    deviations = NOISE.deviations(CLASSES)
    return add_noise(statistics, deviations, secret=SECRET, posting=posting, task="intents")


SLACK = tolerance(CLASSES, NOISE.deviations(CLASSES))


def test_long_rows_are_cut_to_the_agreed_length() -> None:
    texts, _ = rows(40)
    features = CLASSES.cut(CLASSES.features.of(texts))
    assert (features[:, 0] == 1).all()
    assert ((features**2).sum(axis=1) == 16).all()
    kept = features != 0
    assert np.array_equal(features[kept], CLASSES.features.of(texts)[kept])


def test_a_person_moves_what_is_posted_by_no_more_than_the_sensitivity() -> None:
    texts, labels = rows(60)
    tight = NOISE.multiplier * math.sqrt(2)
    deviations = NOISE.deviations(CLASSES)
    for text, label in zip(texts, labels, strict=True):
        row = CLASSES.collect([text], [label])
        assert np.linalg.norm(row.gram) <= deviations[GRAM] / tight
        assert np.linalg.norm(row.moments) <= deviations[MOMENTS] / tight
    three = NOISE.model_copy(update={"person_rows": 3}).deviations(CLASSES)
    same = CLASSES.collect([texts[0]] * 3, [labels[0]] * 3)
    assert np.linalg.norm(same.gram) <= three[GRAM] / tight
    assert np.linalg.norm(same.moments) == pytest.approx(three[MOMENTS] / tight, rel=0.1)


def test_the_strongest_attacker_does_no_better_than_agreed() -> None:
    """Someone who knows all other rows looks for one row in what is posted, 400 times."""
    texts, labels = rows(50)
    row = CLASSES.collect(texts[:1], labels[:1])
    deviations = NOISE.deviations(CLASSES)

    def score(noise: RowStatistics) -> float:
        gram = (noise.gram * row.gram).sum() / deviations[GRAM] ** 2
        return float(gram + (noise.moments * row.moments).sum() / deviations[MOMENTS] ** 2)

    nothing = row.without(row)
    scores = {
        name: [
            score(
                add_noise(base, deviations, secret=SECRET, posting=Posting(number, name), task=name)
            )
            for number in range(400)
        ]
        for name, base in (("with", row), ("out", nothing))
    }
    test = stats.mannwhitneyu(scores["with"], scores["out"])
    found = test.statistic / 400**2
    most = stats.norm.cdf(1 / (NOISE.multiplier * math.sqrt(2)))
    assert 0.5 < found < most + 0.05


def test_honest_noisy_statistics_pass() -> None:
    for count in (0, 1, 5, 500):
        for number in range(1, 4):
            check(posted(CLASSES.collect(*rows(count)), Posting(number, "")), CLASSES, SLACK)


def test_noisy_statistics_do_not_pass_as_exact_ones() -> None:
    with pytest.raises((NotRowSums, OutOfBounds)):
        check(posted(CLASSES.collect(*rows(50))), CLASSES)


def test_statistics_beyond_the_tolerance_are_refused() -> None:
    honest = posted(CLASSES.collect(*rows(500)))

    def changed(gram: int, at: int = 0) -> RowStatistics:
        tensor = honest.gram.copy()
        tensor[at] += gram
        return replace(honest, gram=tensor)

    with pytest.raises(OutOfBounds, match="0 to 5000 are agreed"):
        check(changed(5000 + int(SLACK.gram)), CLASSES, SLACK)
    with pytest.raises(NotRowSums, match="rows together"):
        check(changed(2 * int(SLACK.counts)), CLASSES, SLACK)
    size = CLASSES.features.dimensions
    with pytest.raises(OutOfBounds, match="trace"):
        check(changed(int(20 * SLACK.trace), size), CLASSES, SLACK)
    with pytest.raises(NotRowSums, match="semidefinite"):
        check(changed(-3 * SLACK.spectrum, size), CLASSES, replace(SLACK, trace=1e9))
    moments = honest.moments.copy()
    moments[5, 1] += 4 * SLACK.spectrum
    with pytest.raises(NotRowSums, match="semidefinite"):
        check(replace(honest, moments=moments), CLASSES, replace(SLACK, moments=1e9))


def test_the_noise_of_a_posting_fits_the_stated_norm() -> None:
    nothing = CLASSES.collect([], [])
    for number in range(1, 4):
        noise = posted(nothing, Posting(number, ""))
        assert math.hypot(np.linalg.norm(noise.gram), np.linalg.norm(noise.moments)) < SLACK.norm


def test_the_same_statistics_are_posted_again_and_changed_ones_with_fresh_noise() -> None:
    texts, labels = rows(30)
    exact = CLASSES.collect(texts, labels)
    first = next_posting(NOISE, None, encode(exact.tensors()))
    assert first.number == 1
    assert next_posting(NOISE, first, encode(exact.tensors())) == first
    less = CLASSES.collect(texts[1:], labels[1:])
    second = next_posting(NOISE, first, encode(less.tensors()))
    assert second.number == 2
    left = posted(exact, first).without(posted(less, second))
    leaver = CLASSES.collect(texts[:1], labels[:1])
    # Under the same noise the difference would be the leaver's rows.
    assert np.linalg.norm(left.gram - leaver.gram) > NOISE.deviations(CLASSES)[GRAM]
    with pytest.raises(NoiseSpent, match="2 times, which the agreed epsilon 4 covers"):
        next_posting(NOISE, second, encode(leaver.tensors()))


def test_the_bytes_after_a_person_left_are_those_of_a_run_without_the_person() -> None:
    texts, labels = rows(30)
    first = next_posting(NOISE, None, encode(CLASSES.collect(texts, labels).tensors()))
    never = CLASSES.collect(texts[5:], labels[5:])
    rest = CLASSES.collect(texts, labels).without(CLASSES.collect(texts[:5], labels[:5]))
    second = next_posting(NOISE, first, encode(rest.tensors()))
    assert encode(posted(rest, second).tensors()) == encode(posted(never, second).tensors())


def test_all_agreed_postings_together_spend_the_agreed_epsilon() -> None:
    assert NOISE.epsilon_after(0) == 0.0
    assert NOISE.epsilon_after(1) < 0.75 * NOISE.epsilon
    assert NOISE.epsilon_after(2) == pytest.approx(NOISE.epsilon, rel=1e-4)
    record = budget_record(NOISE, Posting(2, "00"))
    assert record["epsilon"] == pytest.approx(4.0, rel=1e-4)
    assert (record["delta"], record["posting"]) == (1e-6, 2)


def test_a_person_with_too_many_rows_is_refused_without_a_name() -> None:
    two = NOISE.model_copy(update={"person_rows": 2})
    check_people(["Ada", None, None, None, "Ada"], two)
    with pytest.raises(TooManyRowsOfAPerson, match="rows 1, 3, 4 are about one person") as caught:
        check_people(["Ada", "Bela", "Ada", "Ada"], two)
    assert "Ada" not in str(caught.value)


def test_noise_needs_a_bound_of_rows() -> None:
    with pytest.raises(NoRowSquare, match="row_square"):
        NOISE.deviations(CLASSES.model_copy(update={"row_square": None}))


def test_a_head_is_solved_from_noisy_sums_and_checked() -> None:
    parts = [posted(CLASSES.collect(*rows(400, seed)), Posting(1, str(seed))) for seed in range(2)]
    summed = RowStatistics.sum(parts)
    head = solve(lifted(summed, SLACK, 2), ridge=trace_ridge(summed))
    check_head(lifted(summed, SLACK, 2), head, ridge=trace_ridge(summed))
    lifted_gram = lifted(summed, SLACK, 2).full_gram() - summed.full_gram()
    assert np.array_equal(lifted_gram, 2 * SLACK.spectrum * np.eye(CLASSES.features.dimensions))
