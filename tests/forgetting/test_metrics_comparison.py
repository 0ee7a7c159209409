"""Metrics that compare a model with its earlier state or with a replay."""

import numpy as np
import pytest

from rescind.forgetting.metrics import (
    Measured,
    MetricInput,
    exact_memorization,
    gap_to_replay,
    model_utility,
    probability,
    selectivity,
    shared_knowledge,
    truth_ratio_forget,
)


def test_selectivity_is_zero_when_everything_falls_alike() -> None:
    everything = selectivity([0.9, 0.7], [0.4, 0.2], [0.8], [0.3])
    assert everything.value == pytest.approx(0)


def test_selectivity_is_the_drop_of_the_forget_set_when_only_it_falls() -> None:
    only = selectivity([0.9, 0.7], [0.0, 0.0], [0.8], [0.8])
    assert only.value == pytest.approx(0.8)
    assert only.items == (0.9, 0.7)
    assert only.details == {"forget_drop": 0.8, "retain_drop": 0.0, "retain_n": 1}


def test_shared_knowledge_that_stays_has_value_zero() -> None:
    kept = shared_knowledge([1.0, 0.5], [1.0, 0.5])
    assert kept.value == 0
    assert kept.details["kept"] == 1


def test_shared_knowledge_that_is_lost_has_a_negative_value() -> None:
    lost = shared_knowledge([1.0, 0.5], [0.0, 0.0])
    assert lost.value == -0.75
    assert lost.items == (-1.0, -0.5)
    assert lost.details == {"before": 0.75, "after": 0.0, "kept": 0.0}


def test_shared_knowledge_has_no_kept_share_when_nothing_was_known() -> None:
    assert shared_knowledge([0.0], [0.0]).details["kept"] is None


def test_the_gap_of_a_model_to_itself_is_zero_with_certainty() -> None:
    result = probability([0.1, 0.7, 2.0])
    gap = gap_to_replay(result, result)
    assert (gap.value, gap.details["low"], gap.details["high"]) == (0, 0, 0)


def test_an_equal_gap_of_every_item_has_an_interval_of_zero_width() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(50) / 2
    result = Measured("exact_memorization", float(base.mean()) + 0.25, tuple(base + 0.25), "mean")
    replayed = Measured("exact_memorization", float(base.mean()), tuple(base), "mean")
    gap = gap_to_replay(result, replayed)
    assert gap.value == pytest.approx(0.25)
    assert gap.details["low"] == pytest.approx(gap.details["high"]) == pytest.approx(0.25)


def test_the_interval_of_a_gap_approaches_the_normal_limit_and_is_reproducible() -> None:
    rng = np.random.default_rng(11)
    difference = rng.normal(0.1, 0.2, 400)
    zeros = np.zeros(400)
    gap = gap_to_replay(
        Measured("shared_knowledge", float(difference.mean()), tuple(difference), "mean"),
        Measured("shared_knowledge", 0.0, tuple(zeros), "mean"),
    )
    half = 1.96 * difference.std() / 20
    assert gap.details["low"] == pytest.approx(difference.mean() - half, abs=0.003)
    assert gap.details["high"] == pytest.approx(difference.mean() + half, abs=0.003)
    again = gap_to_replay(
        Measured("shared_knowledge", float(difference.mean()), tuple(difference), "mean"),
        Measured("shared_knowledge", 0.0, tuple(zeros), "mean"),
    )
    assert again == gap


def test_a_gap_of_truth_ratios_is_the_gap_of_their_aggregates() -> None:
    one = truth_ratio_forget([1.0, 2.0, 0.5], [[1.0], [1.0], [2.5]])
    other = truth_ratio_forget([3.0, 1.0, 0.5], [[1.0], [1.0], [0.5]])
    gap = gap_to_replay(one, other)
    assert gap.value == pytest.approx(one.value - other.value)
    assert gap.details["low"] <= gap.value <= gap.details["high"]


def test_a_gap_of_different_metrics_is_rejected() -> None:
    model = probability([0.1, 0.2])
    with pytest.raises(MetricInput, match="same metric of both"):
        gap_to_replay(model, exact_memorization([[True], [True]]))


def test_a_gap_of_different_numbers_of_items_is_rejected() -> None:
    with pytest.raises(MetricInput, match="measured has 2, replayed has 1"):
        gap_to_replay(probability([0.1, 0.2]), probability([0.1]))


def test_a_gap_of_a_single_item_is_rejected() -> None:
    with pytest.raises(MetricInput, match="at least two items"):
        gap_to_replay(probability([0.1]), probability([0.1]))


def test_a_gap_of_a_metric_without_items_of_its_own_is_rejected() -> None:
    with pytest.raises(MetricInput, match="model_utility does not follow from its items"):
        gap_to_replay(model_utility({"a": 1.0}), model_utility({"a": 1.0}))


def test_a_gap_with_a_confidence_in_percent_is_rejected() -> None:
    model = probability([0.1, 0.2])
    with pytest.raises(MetricInput, match="confidence 95"):
        gap_to_replay(model, model, confidence=95)
