"""Closed forms, limits and invariances of every metric; no model, no data."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.forgetting.metrics import (
    METRICS,
    Measured,
    MetricInput,
    UnknownMetric,
    exact_memorization,
    extraction_strength,
    forget_quality,
    membership_auc,
    metric,
    min_k_scores,
    model_utility,
    normalized_probability,
    privleak,
    probability,
    rel_diff,
    rouge_l_recall,
    selectivity,
    shared_knowledge,
    truth_ratio_forget,
    truth_ratio_other,
    truth_ratio_share,
    truth_ratios,
)
from rescind.forgetting.metrics.values import AGGREGATES

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
LOSS = st.floats(0, 50)
LOSSES = st.lists(LOSS, min_size=1, max_size=20)
SHARE = st.floats(0, 1)
HITS = st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=8)
PAIRS = st.lists(st.tuples(LOSS, st.lists(LOSS, min_size=1, max_size=5)), min_size=1, max_size=12)
SCORES = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=15)
few = settings(max_examples=60, deadline=None)


def columns(pairs: list[tuple[float, list[float]]]) -> tuple[list[float], list[list[float]]]:
    return [right for right, _ in pairs], [wrong for _, wrong in pairs]


def test_the_probability_of_an_answer_is_the_exponential_of_minus_its_loss() -> None:
    result = probability([0.0, math.log(2)])
    assert result.items == (1.0, 0.5)
    assert result.value == 0.75


def test_equally_likely_options_share_the_probability() -> None:
    assert normalized_probability([2.0], [[2.0, 2.0, 2.0]]).value == pytest.approx(0.25)
    assert normalized_probability([5000.0], [[5000.0]]).value == pytest.approx(0.5)
    assert normalized_probability([0.0], [[900.0]]).value == 1.0


@few
@given(PAIRS, st.floats(0, 100))
def test_normalized_probability_depends_only_on_differences_of_losses(pairs, shift) -> None:
    right, wrong = columns(pairs)
    moved = normalized_probability(
        [r + shift for r in right], [[w + shift for w in row] for row in wrong]
    )
    result = normalized_probability(right, wrong)
    assert result.value == pytest.approx(moved.value, abs=1e-9)
    assert 0 <= result.value <= 1


def test_a_truth_ratio_is_wrong_over_right() -> None:
    right, wrong = [math.log(2)], [[math.log(8), math.log(8)]]
    assert truth_ratios(right, wrong) == pytest.approx([0.25])
    assert truth_ratio_forget(right, wrong).value == pytest.approx(0.25)
    assert truth_ratio_other(right, wrong).value == pytest.approx(0.75)
    assert truth_ratio_share(right, wrong).value == pytest.approx(0.8)


def test_truth_ratios_reach_their_bounds_when_right_and_wrong_are_equally_likely() -> None:
    assert truth_ratio_forget([1.0, 3.0], [[1.0], [2.0, 4.0]]).value == 1.0
    assert truth_ratio_other([1.0, 3.0], [[1.0], [2.0, 4.0]]).value == 0.0


def test_a_truth_ratio_of_extreme_losses_is_finite() -> None:
    for right, wrong in ([5000.0], [[0.0]]), ([0.0], [[5000.0]]):
        for each in truth_ratio_forget, truth_ratio_other, truth_ratio_share:
            result = each(right, wrong)
            assert math.isfinite(result.items[0])
            assert 0 <= result.value <= 1


@few
@given(PAIRS)
def test_the_forget_aggregate_is_the_same_for_inverse_ratios(pairs) -> None:
    ratios = truth_ratios(*columns(pairs))
    aggregate = AGGREGATES["mean_nearness"]
    assert float(aggregate(ratios)) == pytest.approx(float(aggregate(1 / ratios)))


@few
@given(PAIRS, st.randoms())
def test_likelihood_metrics_do_not_depend_on_the_order_of_the_questions(pairs, rng) -> None:
    mixed = rng.sample(pairs, len(pairs))
    for each in (
        normalized_probability,
        truth_ratio_forget,
        truth_ratio_other,
        truth_ratio_share,
    ):
        result = each(*columns(pairs))
        assert 0 <= result.value <= 1
        assert result.value == pytest.approx(each(*columns(mixed)).value)


@few
@given(LOSSES)
def test_a_higher_loss_lowers_the_probability(values) -> None:
    result = probability(values)
    assert 0 <= result.value <= 1
    assert probability([v + 1 for v in values]).value <= result.value


def test_rouge_of_a_text_with_itself_is_one_and_of_an_empty_answer_zero() -> None:
    result = rouge_l_recall(["The river Tay flows", ""], ["the River Tay flows.", "Anything"])
    assert result.items == (1.0, 0.0)
    assert result.value == 0.5


def test_rouge_recall_counts_words_of_the_reference_in_order_and_stems_them() -> None:
    reference = "one two three four"
    assert rouge_l_recall(["one three and much more that was not asked"], [reference]).value == 0.5
    assert rouge_l_recall(["four three two one"], [reference]).value == 0.25
    assert rouge_l_recall(["the cats were sitting"], ["the cat was sitting"]).value == 0.75


def test_rouge_rejects_a_reference_without_words() -> None:
    with pytest.raises(MetricInput, match="item 1: '\\?!' has no word that ROUGE counts"):
        rouge_l_recall(["a", "b"], ["a", "?!"])


def test_an_answer_known_by_heart_has_extraction_strength_one() -> None:
    known = [[True] * 7]
    assert extraction_strength(known).value == exact_memorization(known).value == 1


def test_a_fully_wrong_answer_has_extraction_strength_zero() -> None:
    assert extraction_strength([[False] * 7]).value == 0
    assert extraction_strength([[True] * 6 + [False]]).value == 0


def test_extraction_strength_is_the_share_of_hits_up_to_the_end() -> None:
    result = extraction_strength([[True, False, True, True], [False, True]])
    assert result.items == (0.5, 0.5)
    assert exact_memorization([[True, False, True, True]]).value == 0.75


@few
@given(HITS)
def test_extraction_strength_equals_a_search_over_prefixes(rows) -> None:
    result = extraction_strength(rows)
    for row, item in zip(rows, result.items, strict=True):
        shortest = min(k for k in range(len(row) + 1) if all(row[k:]))
        assert item == pytest.approx(1 - shortest / len(row))
    memorized = exact_memorization(rows)
    assert all(a <= b for a, b in zip(result.items, memorized.items, strict=True))


def test_min_k_averages_the_least_likely_tokens_and_at_least_one() -> None:
    row = [-1.0, -4.0, -2.0, -3.0, -5.0]
    assert min_k_scores([row], 0.4) == pytest.approx([4.5])
    assert min_k_scores([row], 0.01) == pytest.approx([5.0])
    assert min_k_scores([row], 1.0) == pytest.approx([3.0])


def test_min_k_rejects_a_share_of_zero() -> None:
    row = [-1.0, -4.0]
    with pytest.raises(MetricInput, match=r"share 0 is not in \(0, 1\]"):
        min_k_scores([row], 0)


def test_model_utility_is_a_harmonic_mean() -> None:
    assert model_utility({"a": 0.5, "b": 1.0}).value == pytest.approx(2 / 3)
    assert model_utility({"a": 0.0, "b": 1.0}).value == 0


@few
@given(st.lists(SHARE, min_size=1, max_size=9))
def test_utility_lies_between_the_least_component_and_their_mean(values) -> None:
    result = model_utility({str(n): v for n, v in enumerate(values)}).value
    assert min(values) - 1e-9 <= result <= np.mean(values) + 1e-9


def test_forget_quality_is_one_for_the_reference_itself() -> None:
    result = forget_quality([0.1, 0.2, 0.3], [0.3, 0.1, 0.2])
    assert result.value == 1
    assert result.details == {"statistic": 0.0, "n": 3, "reference_n": 3}


def test_the_p_value_of_separate_samples_is_exact() -> None:
    """Of the 20 orders of three and three values, two separate them."""
    result = forget_quality([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    assert result.details["statistic"] == 1
    assert result.value == pytest.approx(2 / 20)


def test_more_questions_lower_p_at_the_same_statistic() -> None:
    ramp = np.arange(40) / 40
    few_result = forget_quality(ramp[::4], ramp[::4] + 0.2875)
    many_result = forget_quality(ramp, ramp + 0.2875)
    assert many_result.details["statistic"] == pytest.approx(0.3)
    assert few_result.details["statistic"] == pytest.approx(0.3)
    assert many_result.value < 0.06 < 0.5 < few_result.value


@few
@given(PAIRS, PAIRS)
def test_forget_quality_is_symmetric_and_independent_of_the_direction_of_ratios(one, other) -> None:
    first, second = truth_ratios(*columns(one)), truth_ratios(*columns(other))
    result, back = forget_quality(first, second), forget_quality(second, first)
    assert 0 <= result.value <= 1
    assert result.value == pytest.approx(back.value)
    assert result.details["statistic"] == pytest.approx(back.details["statistic"])
    turned = forget_quality(-first, -second)
    assert result.details["statistic"] == pytest.approx(turned.details["statistic"])


def test_privacy_metrics_of_a_recognized_forget_set_report_a_leak() -> None:
    recognized = ([1.0, 2.0], [3.0, 4.0])
    assert membership_auc(*recognized) == 1
    assert privleak(*recognized).value == -100
    assert rel_diff(*recognized).value == 100


def test_privacy_metrics_of_an_over_unlearned_forget_set_have_the_opposite_sign() -> None:
    over_unlearned = ([5.0, 6.0], [3.0, 4.0])
    assert privleak(*over_unlearned).value == 100
    assert rel_diff(*over_unlearned).value == -100


def test_privacy_metrics_of_a_forget_set_like_the_holdout_set_are_zero() -> None:
    assert privleak([1.0, 2.0], [1.0, 2.0]).value == rel_diff([1.0], [1.0]).value == 0


def test_privleak_is_zero_at_the_auc_of_the_reference() -> None:
    result = privleak([0.0, 2.0], [1.0, 3.0], reference_auc=0.75)
    assert result.details == {"auc": 0.75, "reference_auc": 0.75, "n": 2, "holdout_n": 2}
    assert result.value == 0


def test_a_reference_auc_that_leads_to_a_division_by_zero_is_rejected() -> None:
    with pytest.raises(MetricInput, match="reference_auc 1"):
        privleak([0.0], [1.0], reference_auc=1)
    with pytest.raises(MetricInput, match="reference_auc 0"):
        rel_diff([0.0], [1.0], reference_auc=0)


@few
@given(SCORES, SCORES)
def test_the_auc_equals_a_count_of_pairs(forget, holdout) -> None:
    wins = [(h > f) + 0.5 * (h == f) for f in forget for h in holdout]
    assert membership_auc(forget, holdout) == pytest.approx(np.mean(wins))
    opposite = privleak(forget, holdout).value, rel_diff(forget, holdout).value
    assert opposite[0] == pytest.approx(-opposite[1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "compute",
    [
        lambda v: probability([0.1, v]),
        lambda v: normalized_probability([0.1], [[v]]),
        lambda v: truth_ratio_forget([v], [[1.0]]),
        lambda v: truth_ratio_other([1.0], [[1.0, v]]),
        lambda v: model_utility({"a": v}),
        lambda v: forget_quality([v], [0.1]),
        lambda v: forget_quality([0.1], [v]),
        lambda v: privleak([v], [1.0]),
        lambda v: rel_diff([1.0], [v]),
        lambda v: selectivity([1.0], [1.0], [v], [1.0]),
        lambda v: shared_knowledge([1.0], [v]),
        lambda v: min_k_scores([[v]]),
    ],
)
def test_a_value_that_is_not_finite_is_rejected(compute, value: float) -> None:
    with pytest.raises(MetricInput, match="not finite"):
        compute(value)


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        (lambda: probability([]), "answer_losses: there are no items"),
        (lambda: probability([-0.5]), "a probability above one"),
        (lambda: probability([[0.5]]), r"one number for each item, got an array of shape \(1, 1\)"),
        (lambda: probability(["x"]), "one number for each item"),
        (
            lambda: normalized_probability([0.1, 0.2], [[0.1]]),
            "answer_losses has 2, wrong_losses has 1",
        ),
        (lambda: truth_ratio_forget([0.1], [[]]), "wrong_losses, item 0: there are no items"),
        (lambda: truth_ratio_forget([], []), "there are no items"),
        (lambda: model_utility({"a": 1.5}), "1.5, not from 0 to 1"),
        (lambda: model_utility({}), "there are no items"),
        (lambda: exact_memorization([[1.0]]), "true or false for each token"),
        (lambda: extraction_strength([np.array([], dtype=bool)]), "item 0"),
        (lambda: extraction_strength([]), "there are no items"),
        (lambda: rouge_l_recall(["a"], []), "generated has 1, references has 0"),
        (lambda: shared_knowledge([1.0], [1.0, 1.0]), "shared_before has 1, shared_after has 2"),
    ],
)
def test_unusable_input_is_rejected_with_the_reason(compute, message: str) -> None:
    with pytest.raises(MetricInput, match=message):
        compute()


def test_an_unknown_metric_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(
        UnknownMetric, match=r"'rogue' is not a metric\. Known metrics: exact_memo"
    ) as e:
        metric("rogue")
    assert all(name in str(e.value) for name in METRICS)


def examples_of_every_metric() -> list[Measured]:
    right, wrong, hits = [0.1, 2.0], [[1.0, 2.0], [0.5]], [[True, False], [False, True, True]]
    columns_kept = {
        "answer_losses": right,
        "paraphrase_losses": right,
        "wrong_losses": wrong,
        "token_hits": hits,
        "generated": ["a b", "c"],
        "references": ["a c", "c"],
        "by_block": [True, False],
        "held_by_others": [False, False],
        "components": {"a": 0.5, "b": 0.25},
        "truth_ratios": [0.1, 0.2],
        "reference_truth_ratios": [0.1, 0.9],
        "forget_scores": [1.0, 3.0],
        "holdout_scores": [2.0, 5.0],
        "reference_auc": 0.5,
        "measured": probability([0.1, 0.4]),
        "replayed": probability([0.3, 0.4]),
    } | dict.fromkeys(
        ("forget_before", "forget_after", "retain_before", "retain_after", "before", "after"), right
    )
    return [m.compute(**{need: columns_kept[need] for need in m.needs}) for m in METRICS.values()]


def test_every_metric_has_a_figure_in_its_range_and_items_as_json() -> None:
    for result, known in zip(examples_of_every_metric(), METRICS.values(), strict=True):
        assert result.metric == known.name
        assert len(result.items) >= 2 or known.name == "model_utility"
        assert known.low is None or result.value >= known.low
        assert known.high is None or result.value <= known.high
        if result.aggregate:
            assert result.value == float(AGGREGATES[result.aggregate](np.array(result.items)))
        back = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert back["value"] == result.value
        assert back["items"] == list(result.items)


def test_the_page_on_metrics_has_a_row_for_each_metric() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE)
    assert rows == list(METRICS)


def test_metrics_do_not_import_torch() -> None:
    program = (
        "import sys, rescind.forgetting.metrics as m; m.metric('privleak');"
        "sys.exit(any(n in sys.modules for n in ('torch', 'transformers', 'sklearn', 'rouge_score')))"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
