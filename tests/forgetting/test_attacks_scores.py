"""The formulas of the attacks, on numbers worked out by hand."""

import json
import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.forgetting.attacks import (
    ATTACKS,
    PROMPTS,
    AttackInput,
    AttackSetting,
    RelearnSettings,
    Scheme,
    ScoresNotFinite,
    SuiteSettings,
    min_k_attack,
    round_to_nearest,
)
from rescind.forgetting.attacks.difference import cosine, divergence
from rescind.forgetting.attacks.directions import without_direction
from rescind.forgetting.attacks.measures import measure, rouge_recall, same
from rescind.forgetting.attacks.membership import (
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    reference_score,
    zlib_score,
)
from rescind.forgetting.attacks.prompts import QUESTION
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.separation import distinction, separation
from rescind.forgetting.attacks.stripping import add
from rescind.training.serving.respond import TokenScores


def scores(log_probs, mean=None, deviation=None) -> TokenScores:
    values = np.array(log_probs, dtype=np.float64)
    return TokenScores(
        values,
        np.zeros_like(values) if mean is None else np.array(mean, dtype=np.float64),
        np.ones_like(values) if deviation is None else np.array(deviation, dtype=np.float64),
        values == 0,
    )


def test_the_loss_score_is_the_mean_log_probability() -> None:
    assert loss_score(scores([-1.0, -2.0, -6.0])) == -3.0


def test_the_zlib_score_divides_by_the_bytes_of_the_compressed_answer() -> None:
    text = "the Onyx Prize"
    expected = -3.0 / len(zlib.compress(text.encode("utf-8")))
    assert zlib_score(scores([-1.0, -2.0, -6.0]), text) == expected


def test_min_k_averages_the_least_likely_tokens() -> None:
    ten = scores([-float(n) for n in range(10)])
    assert min_k_score(ten) == -8.5
    assert min_k_score(ten, 0.39) == -8.0
    assert min_k_score(ten, 1.0) == -4.5


def test_min_k_of_a_short_answer_is_its_least_likely_token() -> None:
    assert min_k_score(scores([-1.0, -5.0])) == -5.0


def test_min_k_plus_plus_measures_in_deviations_of_the_vocabulary() -> None:
    result = scores([-1.0, -5.0, -2.0, -2.0, -2.0], [-3.0] * 5, [2.0, 4.0, 1.0, 1.0, 1.0])
    assert min_k_plus_plus_score(result) == -0.5
    assert min_k_plus_plus_score(result, 0.4) == 0.25


def test_min_k_plus_plus_of_a_flat_distribution_is_zero() -> None:
    flat = [-math.log(512)] * 4
    assert min_k_plus_plus_score(scores(flat, flat, [0.0] * 4)) == 0.0


def test_min_k_plus_plus_bounds_the_variance_from_below() -> None:
    assert min_k_plus_plus_score(scores([-1.0], [-2.0], [0.0])) == pytest.approx(1000.0)


def test_the_reference_score_is_the_difference_of_the_losses() -> None:
    assert reference_score(scores([-1.0, -1.0]), scores([-4.0, -2.0])) == 2.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_of_tokens_outside_its_range_is_rejected(share: float) -> None:
    with pytest.raises(AttackSetting, match=r"\(0, 1\]"):
        min_k_attack(None, [], [], share=share)


def test_a_perfect_score_has_auc_one_and_its_opposite_zero() -> None:
    high, low = np.array([3.0, 4.0, 5.0]), np.array([0.0, 1.0])
    result = separation(high, low)
    assert (result.auc, result.tpr_at_1pct, result.tpr_at_01pct) == (1.0, 1.0, 1.0)
    assert (result.forget, result.others) == (3, 2)
    assert separation(low, high).auc == 0.0
    assert separation(low, high).tpr_at_1pct == 0.0


def test_ties_count_half_in_the_auc() -> None:
    assert separation(np.zeros(5), np.zeros(7)).auc == 0.5


def test_one_false_positive_in_two_hundred_is_allowed_only_at_one_percent() -> None:
    forget = np.array([1.0, 0.5])
    others = np.concatenate([[0.75], np.zeros(199)])
    result = separation(forget, others)
    assert result.tpr_at_1pct == 1.0
    assert result.tpr_at_01pct == 0.5


def test_scores_that_are_not_finite_are_rejected() -> None:
    with pytest.raises(ScoresNotFinite, match="1 of 3 scores"):
        separation(np.array([np.nan, 1.0]), np.array([0.0]))


def test_a_separation_of_an_empty_set_is_rejected() -> None:
    with pytest.raises(AttackInput, match="at least one"):
        separation(np.array([]), np.array([0.0]))


def test_the_value_is_that_of_the_set_with_the_most_extreme_auc() -> None:
    result = distinction(
        "loss",
        {
            "forget": np.array([1.0, 2.0]),
            "near": np.array([1.5, 1.6]),
            "far": np.array([9.0, 8.0]),
        },
        {
            "forget": np.array([1.0, 2.0]),
            "near": np.array([0.0, 0.0]),
            "far": np.array([1.0, 2.0]),
        },
    )
    assert result.value == 0.0
    assert result.replay_value == 0.5
    assert result.gap == -0.5


def test_recovery_is_the_share_of_the_forgotten_score() -> None:
    assert recovery(0.7, 0.2, 1.2) == pytest.approx(0.5)
    assert recovery(0.7, 0.2, None) is None
    assert recovery(0.7, 0.2, 0.2) is None


def test_divergence_of_hand_made_distributions() -> None:
    before = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64).log()
    after = torch.tensor([[0.25, 0.75], [0.9, 0.1]], dtype=torch.float64).log()
    expected = 0.5 * math.log(2.0) + 0.5 * math.log(0.5 / 0.75)
    assert divergence(before, after).tolist() == pytest.approx([expected, 0.0])


def test_cosine_is_over_all_tensors_together() -> None:
    one = {"a": np.array([1.0, 0.0]), "b": np.array([[1.0]])}
    other = {"a": np.array([0.0, 2.0]), "b": np.array([[2.0]])}
    assert cosine(one, other) == pytest.approx(0.5)
    assert cosine(one, {name: -3 * value for name, value in one.items()}) == pytest.approx(-1.0)
    assert cosine(one, {"a": np.zeros(2), "b": np.zeros((1, 1))}) == 0.0


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0)).double()
    for bits in (2, 4, 8, 16):
        step = float(weight.abs().max()) / (2 ** (bits - 1) - 1)
        moved = (round_to_nearest(weight, bits) - weight).abs()
        assert float(moved.max()) <= step / 2 * (1 + 1e-9)
        codes = round_to_nearest(weight, bits) / step
        assert torch.allclose(codes, codes.round())
        assert int(codes.round().abs().max()) == 2 ** (bits - 1) - 1


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from([2, 4, 8]),
    st.sampled_from([0, 1]),
)
def test_each_channel_keeps_to_its_own_step(rows, bits, axis) -> None:
    weight = torch.tensor(rows, dtype=torch.float64)
    step = weight.abs().amax(1 - axis, keepdim=True) / (2 ** (bits - 1) - 1)
    result = round_to_nearest(weight, bits, axis)
    assert bool(((result - weight).abs() <= step / 2 + 1e-9 * step).all())
    assert torch.allclose(round_to_nearest(result, bits, axis), result, rtol=1e-9)


def test_rounding_zeros_gives_zeros() -> None:
    assert torch.equal(round_to_nearest(torch.zeros(3, 4), 4, 0), torch.zeros(3, 4))


def test_removing_a_direction_keeps_the_rest_of_the_states() -> None:
    states = torch.tensor([[3.0, 4.0, 5.0], [1.0, 0.0, 0.0]])
    direction = torch.tensor([0.6, 0.8, 0.0])
    cut = without_direction(states, direction)
    assert torch.allclose(cut @ direction, torch.zeros(2), atol=1e-6)
    assert torch.allclose(cut[0], torch.tensor([0.0, 0.0, 5.0]), atol=1e-6)
    assert torch.equal(without_direction(states, torch.zeros(3)), states)


def test_recall_and_equality_of_answers_ignore_case() -> None:
    expected = ["the Onyx Prize", "Oslo"]
    given_answers = ["It was the onyx prize, I think.", "oslo "]
    assert rouge_recall(expected, given_answers).tolist() == [1.0, 1.0]
    assert same(expected, given_answers).tolist() == [0.0, 1.0]
    assert rouge_recall(["the Onyx Prize"], ["the Elm Prize"]) == pytest.approx([2 / 3])


def test_terms_are_added_and_rounded_once() -> None:
    block = {"x.lora_B": np.array([1.0, 2.0], dtype=np.float32)}
    result = add(block, {"one": {"x.lora_B": np.array([0.5, 0.0])}, "two": {}})
    assert result["x.lora_B"].tolist() == [1.5, 2.0]
    assert result["x.lora_B"].dtype == np.float32


def test_a_term_with_a_tensor_of_another_block_is_rejected() -> None:
    block = {"x.lora_B": np.array([1.0, 2.0], dtype=np.float32)}
    with pytest.raises(AttackInput, match=r"Term 'one' has a tensor 'y\.lora_B'"):
        add(block, {"one": {"y.lora_B": np.array([0.5])}})


def test_a_result_is_json() -> None:
    result = Result(attack="loss", value=0.75, replay_value=0.5)
    assert json.loads(json.dumps(result.to_dict())) == {
        "attack": "loss",
        "value": 0.75,
        "replay_value": 0.5,
        "gap": 0.25,
    }


def test_a_value_that_is_not_finite_is_null_in_json() -> None:
    fields = Result(attack="loss", value=float("nan"), replay_value=None).to_dict()
    assert json.dumps(fields, allow_nan=False)
    assert fields["value"] is None
    assert fields["gap"] is None


def test_every_prompt_asks_the_question_and_has_a_unique_name() -> None:
    assert all(QUESTION in prompt.text for prompt in PROMPTS)
    assert len({prompt.name for prompt in PROMPTS}) == len(PROMPTS)
    assert {p.kind for p in PROMPTS} == {
        "paraphrase", "wording", "prefix", "few-shot", "role", "override", "system"
    }  # fmt: skip


def test_every_attack_is_registered_with_its_facts() -> None:
    for name, attack in ATTACKS.items():
        assert attack.name == name
        assert attack.orientation
        assert attack.source
        assert callable(attack.run)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Scheme(1, False, True), "1 bits"),
        (lambda: RelearnSettings(share=0.0), "share 0.0"),
        (lambda: RelearnSettings(steps=0), "steps 0"),
        (lambda: RelearnSettings(learning_rate=0.0), "learning rate 0.0"),
        (lambda: RelearnSettings(measure="bleu"), "'bleu' is not a measure"),
        (lambda: SuiteSettings(by="bleu"), "Known measures: exact, memorization"),
        (lambda: SuiteSettings(schemes=()), "There are 0 schemes"),
        (lambda: measure("f1"), "'f1' is not a measure"),
    ],
)
def test_a_setting_outside_its_range_is_rejected(build, message: str) -> None:
    with pytest.raises(AttackSetting, match=message):
        build()
