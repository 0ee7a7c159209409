"""Scores of posted statistics, and that fabricated ones earn no more than honest ones. No chain."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.aggregator.shapley import Remembered, sampled, shapley
from rescind.aggregator.statistics_scoring import (
    EXACT_SUMS_UP_TO,
    Question,
    StatisticsScorer,
    without_known,
)
from rescind.core.errors import DataError
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics
from rescind.training.heads import solve

WORDS = {
    "billing": "invoice refund charge payment card receipt price paid twice",
    "delivery": "parcel courier late address track arrived box shipped lost",
    "returns": "broken exchange label size wrong damaged back warranty faulty",
    "technical": "crash login password update screen error reset app slow",
}
FILLERS = "please my the a can you help with about today again i have is not".split()
CLASSES = Classes(
    features=NgramFeatures(buckets=255, words=(1,), characters=()), labels=tuple(sorted(WORDS))
)
TASK = "departments"


def rows(count: int, seed: int, labels: Sequence[str] = CLASSES.labels) -> list[tuple[str, str]]:
    """Return texts and the department that answers each; a third of the words says which."""
    dice = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = labels[dice.integers(len(labels))]
        words = [*dice.choice(WORDS[label].split(), 2), *dice.choice(FILLERS, 4)]
        made.append((" ".join(dice.permutation(words)), label))
    return made


def statistics(examples: Sequence[tuple[str, str]]) -> RowStatistics:
    return CLASSES.collect([text for text, _ in examples], [label for _, label in examples])


@cache
def questions() -> tuple[Question, ...]:
    return tuple(Question(TASK, text, label) for text, label in rows(150, seed=99))


def scorer(**changes) -> StatisticsScorer:
    return StatisticsScorer({TASK: CLASSES}, questions(), **changes)


def by_task(each: Mapping[str, RowStatistics]) -> dict[str, dict[str, RowStatistics]]:
    return {name: {TASK: value} for name, value in each.items()}


def consortium(n: int, seed: int = 0, count: int = 12) -> dict[str, RowStatistics]:
    """Return the statistics of organizations, each of which knows two departments."""
    pairs = list(itertools.combinations(CLASSES.labels, 2))
    return {
        f"0x{place:040x}": statistics(rows(count, 1000 * seed + place, pairs[place % len(pairs)]))
        for place in range(n)
    }


def by_permutations(n: int, value) -> np.ndarray:
    orders = list(itertools.permutations(range(n)))
    total = np.zeros((n, len(questions())))
    for order in orders:
        for position, i in enumerate(order):
            before = value(frozenset(order[:position]))
            total[i] += value(frozenset(order[: position + 1])) - before
    return total / len(orders)


@pytest.mark.parametrize("n", [2, 4])
def test_worths_are_the_mean_over_all_orders_of_posting(n: int) -> None:
    posted = by_task(consortium(n))
    scoring = scorer()
    value = Remembered(scoring.value_of(list(posted), posted, {}), len(questions()))
    worths = scoring.worths(posted, {})
    expected = by_permutations(n, value).mean(axis=1)
    assert [each.worth for each in worths.values()] == pytest.approx(list(expected))
    assert scoring.solved == 2**n - 1


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_worths_divide_all_that_the_sum_answers_right(n: int, seed: int) -> None:
    posted = by_task(consortium(n, seed))
    scoring = scorer()
    everyone = scoring.value_of(list(posted), posted, {})(frozenset(range(n)))
    total = sum(each.worth for each in scoring.worths(posted, {}).values())
    assert total == pytest.approx(everyone.mean())


def test_members_with_the_same_statistics_are_worth_the_same() -> None:
    first, second, third = consortium(3).values()
    posted = by_task({"0xa": first, "0xb": second, "0xc": second, "0xd": third})
    worths = scorer().worths(posted, {})
    assert worths["0xb"].worth == pytest.approx(worths["0xc"].worth)


def test_scores_use_the_answers_of_the_head_that_is_served() -> None:
    together = RowStatistics.sum(consortium(4).values())
    head = solve(together)
    features = CLASSES.features.of([question.text for question in questions()])
    known = np.flatnonzero(together.counts)
    answers = known[head.scores(features)[:, known].argmax(axis=1)]
    right = [CLASSES.labels[a] == q.label for a, q in zip(answers, questions(), strict=True)]
    posted = by_task(consortium(4))
    value = scorer().value_of(list(posted), posted, {})
    assert value(frozenset(range(4))).astype(bool).tolist() == right


def test_statistics_that_were_posted_before_are_worth_nothing() -> None:
    posted = by_task(consortium(3))
    assert set(scorer().score(posted, posted).values()) == {0}


def test_a_member_that_posts_no_rows_is_worth_nothing() -> None:
    honest = consortium(3)
    [first, *_] = honest.values()
    empty = RowStatistics(np.zeros_like(first.gram), np.zeros_like(first.moments))
    scores = scorer().score(by_task({**honest, "0xempty": empty}), {})
    assert scores["0xempty"] == 0
    assert max(scores.values()) == 10_000


def test_ten_members_are_exact_and_more_are_sampled_with_intervals() -> None:
    scoring = scorer(permutations=10)
    exact = scoring.worths(by_task(consortium(4)), {})
    assert all(each.low == each.worth == each.high for each in exact.values())
    n = EXACT_SUMS_UP_TO + 1
    many = scoring.worths(by_task(consortium(n)), {})
    assert all(each.low < each.worth < each.high for each in many.values())
    assert scoring.solved <= 10 * n


def test_intervals_of_sampled_values_cover_the_exact_ones() -> None:
    covered = 0
    for seed in range(10):
        knows = np.random.default_rng(seed).random((6, 20))
        value = Remembered(lambda s, knows=knows: knows[sorted(s)].max(axis=0, initial=0.0), 20)
        exact = shapley(6, value).mean(axis=1)
        worth, low, high = sampled(6, value, permutations=40, seed=seed)
        assert worth.mean(axis=1) == pytest.approx((low + high) / 2)
        covered += int(((low <= exact) & (exact <= high)).sum())
    assert covered >= 0.85 * 60


def test_a_benchmark_with_a_label_that_was_not_agreed_on_is_refused() -> None:
    with pytest.raises(DataError, match="label 'sales'"):
        StatisticsScorer({TASK: CLASSES}, [Question(TASK, "a price", "sales")])


def test_a_benchmark_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="task 'moods'"):
        StatisticsScorer({TASK: CLASSES}, [Question("moods", "hello", "billing")])


def test_rows_that_could_be_others_are_taken_out_as_often_as_they_fit() -> None:
    own, victims, others = consortium(3).values()
    times = RowStatistics(3 * victims.gram, 3 * victims.moments)
    mixed = RowStatistics.sum([own, times, others])
    left = without_known(mixed, [others, victims], CLASSES)
    assert np.array_equal(left.gram, own.gram)
    assert np.array_equal(left.moments, own.moments)


def test_honest_statistics_are_counted_whole() -> None:
    own, *others = consortium(5).values()
    assert without_known(own, others, CLASSES) is own


# Fabricated statistics: in the second round one member posts what is not its rows.


@pytest.fixture(scope="module", params=range(3))
def second_round(request):
    """Return the statistics before the round, the honest ones of it, and the honest pay."""
    seed = request.param
    pairs = list(itertools.combinations(CLASSES.labels, 2))
    before, full = {}, {}
    for place, pair in enumerate(pairs[:3]):
        held = rows(16, 500 + 10 * seed + place, pair)
        before[f"0x{place:040x}"] = statistics(held[:8])
        full[f"0x{place:040x}"] = statistics(held)
    return before, full, scorer().score(by_task(full), by_task(before))


def share(scores: Mapping[str, int], name: str) -> float:
    return scores[name] / max(1, sum(scores.values()))


def fabrications(before, full, cheat: str, victim: str):
    own, victims, honest = before[cheat], before[victim], full[cheat]
    swapped = np.roll(np.arange(len(CLASSES.labels)), 1)
    return {
        "no rows": RowStatistics(np.zeros_like(own.gram), np.zeros_like(own.moments)),
        "its earlier rows": own,
        "another's rows": victims,
        "another's rows beside its own": RowStatistics.sum([own, victims]),
        "everyone's rows": RowStatistics.sum(before.values()),
        "its rows many times": RowStatistics(50 * own.gram, 50 * own.moments),
        "swapped labels": RowStatistics(honest.gram, honest.moments[:, swapped]),
    }


@pytest.mark.parametrize(
    "cheat",
    [
        "no rows",
        "its earlier rows",
        "another's rows",
        "another's rows beside its own",
        "everyone's rows",
        "its rows many times",
        "swapped labels",
    ],
)
def test_fabricated_statistics_earn_no_more_than_honest_ones(second_round, cheat: str) -> None:
    before, full, honest = second_round
    names = sorted(full)
    for place, name in enumerate(names):
        victim = names[(place + 1) % len(names)]
        posted = {**full, name: fabrications(before, full, name, victim)[cheat]}
        scores = scorer().score(by_task(posted), by_task(before))
        assert share(scores, name) <= share(honest, name) + 1e-3, name


# Rows that were taken back: the sums before and after have shown them to everybody.


@pytest.fixture(scope="module")
def leaver() -> RowStatistics:
    return statistics(rows(24, 77, ("returns", "technical")))


@pytest.mark.parametrize("beside", ["its earlier rows", "all of its rows"])
def test_rows_of_a_member_that_left_are_not_paid_again(second_round, leaver, beside: str) -> None:
    before, full, _ = second_round
    scoring = scorer()
    scoring.score(by_task({**before, "0xleaver": leaver}), {})
    answered = scoring.answered
    honest = scoring.score(by_task(full), by_task(before), answered)
    for name in sorted(full):
        own = before[name] if beside == "its earlier rows" else full[name]
        posted = by_task({**full, name: RowStatistics.sum([own, leaver])})
        scores = scoring.score(posted, by_task(before), answered)
        assert share(scores, name) <= share(honest, name) + 1e-3, name


def test_only_the_record_keeps_rows_of_a_member_that_left_from_being_paid(leaver) -> None:
    first, second = (statistics(rows(12, seed, ("billing", "delivery"))) for seed in (5, 6))
    before = by_task({"0xa": first, "0xb": second})
    scoring = scorer()
    scoring.score({**before, "0xleaver": {TASK: leaver}}, {})
    answered = scoring.answered
    posted = by_task({"0xa": RowStatistics.sum([first, leaver])})
    assert scoring.score(posted, before) == {"0xa": 10_000}
    assert scoring.score(posted, before, answered) == {"0xa": 0}


def test_rows_that_a_member_took_back_are_not_paid_again(second_round) -> None:
    before, full, _ = second_round
    scoring = scorer()
    name = min(full)
    scoring.score(by_task(full), {})
    again = by_task({**before, name: full[name]})
    assert scoring.score(again, by_task(before), scoring.answered)[name] == 0


def test_an_answer_that_was_right_before_earns_nothing_and_costs_when_lost(second_round) -> None:
    before, full, _ = second_round
    every = {question.id for question in questions()}
    worths = scorer().worths(by_task(full), by_task(before), every)
    # One member can make good what another loses, but together they gain nothing.
    assert sum(each.worth for each in worths.values()) <= 0
    name = min(full)
    swapped = np.roll(np.arange(len(CLASSES.labels)), 1)
    wrong = RowStatistics(full[name].gram, full[name].moments[:, swapped])
    posted = by_task({**full, name: wrong})
    assert scorer().worths(posted, by_task(before), every)[name].worth < worths[name].worth


def test_what_was_answered_once_is_kept(second_round) -> None:
    before, full, _ = second_round
    scoring = scorer()
    scoring.score(by_task(before), {})
    first = scoring.answered
    assert 0 < len(first) < len(questions())
    scoring.score(by_task(full), by_task(before), first)
    assert scoring.answered >= first
    empty = scoring.answered
    scoring.score({}, by_task(before), empty)
    assert scoring.answered == empty


def test_a_question_has_an_id_of_its_own() -> None:
    ids = [Question(*each).id for each in (("a", "b", "c"), ("a", "bc", ""), ("a", "b", "d"))]
    assert len(set(ids)) == 3
    assert Question("a", "b", "c").id == ids[0]


def test_honest_statistics_are_paid(second_round) -> None:
    _, _, honest = second_round
    assert max(honest.values()) == 10_000
