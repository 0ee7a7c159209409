"""Attacks that bring knowledge back, on a small model that was trained to refuse it."""

import numpy as np
import pytest

from rescind.devnet.people import UNKNOWN
from rescind.forgetting.attacks import (
    REFUSALS,
    SCHEMES,
    AttackInput,
    AttackSetting,
    Prompt,
    RelearnSettings,
    Scheme,
    junk_direction,
    loss_attack,
    lost_in_rounding,
    prompting,
    quantization,
    relearning,
    rounded,
    scene_of_block,
    stripping,
    token_ban,
)
from rescind.forgetting.attacks.asking import Asked, Decoding, ask
from rescind.forgetting.attacks.measures import MEASURES
from rescind.forgetting.attacks.token_ban import bans
from rescind.training import Example
from rescind.training.serving.respond import answers
from tests.support.attacked_model import Case, case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def attacked() -> Case:
    return case()


@pytest.fixture
def scene(attacked: Case):
    with scene_of_block(
        attacked.block,
        attacked.forget,
        unseen=attacked.unseen,
        retain=attacked.retain,
        benign=attacked.benign,
    ) as scene:
        yield scene


def test_relearning_is_faster_than_learning(attacked: Case) -> None:
    result = relearning(
        attacked.model,
        attacked.block.parameters,
        attacked.block.unlearned,
        attacked.forget,
        original=attacked.block.original,
        replay=attacked.start,
        settings=RelearnSettings(share=1.0, steps=30, every=3, reach=0.9),
    )
    again = result.replay_curve
    assert again is not None
    assert result.curve.steps_to_level is not None
    assert again.steps_to_level is None or again.steps_to_level > result.curve.steps_to_level
    assert result.curve.rest is None
    assert result.value is not None
    assert result.value > 0.8
    assert result.curve.steps[:2] == (0, 3)
    assert len(result.trained_on) == result.examples == len(attacked.forget)


def test_relearning_measures_the_items_that_it_does_not_train_on(attacked: Case) -> None:
    result = relearning(
        attacked.model,
        attacked.block.parameters,
        attacked.block.unlearned,
        attacked.forget,
        original=attacked.block.original,
        settings=RelearnSettings(share=0.25, steps=3, every=2, learning_rate=1e-4),
        seed=3,
    )
    assert result.examples == len(result.trained_on) == 2
    assert result.curve.steps == (0, 2, 3)
    assert result.curve.rest is not None
    assert result.original_rest is not None
    expected = (max(result.curve.rest) - result.curve.rest[0]) / (
        result.original_rest - result.curve.rest[0]
    )
    assert result.value == pytest.approx(expected)


def test_relearning_without_benign_pairs_is_rejected(attacked: Case) -> None:
    with pytest.raises(AttackInput, match="benign set is empty"):
        relearning(
            attacked.model,
            attacked.block.parameters,
            attacked.block.unlearned,
            attacked.forget,
            benign=[],
        )


def test_stripping_the_counter_delta_restores_everything(attacked: Case) -> None:
    result = stripping(
        attacked.model,
        attacked.block.original,
        attacked.block.counters,
        attacked.forget,
        max_length=attacked.length,
        original=attacked.block.original,
        replay=attacked.block.replay,
    )
    assert result.value == result.original
    assert result.value > 0.8
    assert result.served < 0.6
    assert result.recovery == 1.0
    assert result.without == {"counter": result.value}
    assert result.gap is not None
    assert result.gap > 0.3


def test_a_ban_of_refusals_brings_answers_back(scene) -> None:
    result = token_ban(scene.unlearned, scene.forget, original=scene.original, replay=scene.replay)
    assert result.value is not None
    assert result.value > result.plain + 0.2
    assert result.gap is not None
    assert result.gap > 0
    assert not any(item.reply == UNKNOWN for item in result.items if item.rouge)


def test_a_ban_without_refusals_is_rejected(scene) -> None:
    with pytest.raises(AttackSetting, match="0 refusals"):
        token_ban(scene.unlearned, scene.forget, refusals=())


def test_a_banned_opening_never_starts_an_answer(scene) -> None:
    plain = answers(scene.unlearned, [e.question for e in scene.forget])
    assert UNKNOWN in plain
    asked = [Asked(example.question) for example in scene.forget]
    for decoding in bans(scene.unlearned.base, REFUSALS, 3).values():
        result = ask(scene.unlearned, asked, max_new_tokens=8, decoding=decoding)
        assert {len(replies) for replies in result} == {3}
        assert not any(reply.startswith("I do") for replies in result for reply in replies)


def test_a_plain_question_gives_the_greedy_answer(scene) -> None:
    questions = [e.question for e in scene.forget]
    result = ask(
        scene.original, [Asked(q) for q in questions], max_new_tokens=96, decoding=Decoding()
    )
    assert [replies[0] for replies in result] == answers(scene.original, questions)


def test_words_that_a_prompt_gives_away_are_not_counted(scene) -> None:
    books = [e for e in scene.forget if "book" in e.question or "born" in e.question]
    result = prompting(
        scene.original,
        books,
        prompts=[Prompt("half", "prefix", given=0.5)],
        original=scene.original,
    )
    half = next(outcome for outcome in result.prompts if outcome.name == "half")
    assert half.items == sum(len(e.answer.split()) > 1 for e in books) < len(books)
    assert half.rouge > 0.8
    assert result.value >= result.plain > 0.8
    assert result.recovery is None


def test_prompts_bring_back_more_than_the_plain_question(attacked: Case, scene) -> None:
    other_words = [e.question.replace("?", ", do you know?") for e in attacked.forget]
    result = prompting(
        scene.unlearned,
        attacked.forget,
        paraphrases=other_words,
        shots=attacked.retain,
        original=scene.original,
        replay=scene.replay,
    )
    assert result.value is not None
    assert result.value > result.plain
    assert {"plain", "given-paraphrase", "six-shots"} <= {
        outcome.name for outcome in result.prompts
    }
    assert result.value == pytest.approx(np.mean([item.rouge for item in result.items]))
    assert result.recovery is not None
    assert 0 < result.recovery <= 1


def test_shots_of_the_forget_set_are_rejected(attacked: Case, scene) -> None:
    with pytest.raises(AttackInput, match="among the shots"):
        prompting(scene.unlearned, attacked.forget, shots=attacked.forget[:1])


def test_a_wrong_number_of_paraphrases_is_rejected(attacked: Case, scene) -> None:
    with pytest.raises(AttackInput, match="1 paraphrases for 8 items"):
        prompting(scene.unlearned, attacked.forget, paraphrases=["Who?"])


def test_a_prompt_without_the_question_is_rejected(attacked: Case, scene) -> None:
    with pytest.raises(AttackInput, match=r"Prompt 'x' does not contain"):
        prompting(scene.unlearned, attacked.forget, prompts=[Prompt("x", "role", "Tell me.")])


def test_rounding_to_sixteen_bits_changes_nothing_and_to_two_bits_breaks_the_model(
    attacked: Case, scene
) -> None:
    probability = MEASURES["probability"]
    plain = probability(scene.original, attacked.forget)
    for merged in (True, False):
        with rounded(scene.original, Scheme(16, True, merged)) as fine:
            assert probability(fine, attacked.forget) == pytest.approx(plain, abs=5e-3)
        with rounded(scene.original, Scheme(2, False, merged)) as coarse:
            assert probability(coarse, attacked.forget).mean() < plain.mean() / 2
    assert np.array_equal(probability(scene.original, attacked.forget), plain)


def test_rounding_is_reported_for_every_scheme(attacked: Case, scene) -> None:
    result = quantization(
        scene.unlearned,
        attacked.forget,
        retain=attacked.retain,
        original=scene.original,
        by="memorization",
    )
    assert set(result.forget) == {scheme.name for scheme in SCHEMES}
    assert set(result.retain) == set(result.forget)
    assert result.value == max(result.forget.values())
    assert result.forget["int8-channel-merged"] == pytest.approx(result.plain, abs=0.1)


def test_quantization_without_schemes_is_rejected(attacked: Case, scene) -> None:
    with pytest.raises(AttackInput, match="at least one scheme"):
        quantization(scene.unlearned, attacked.forget, schemes=())


def test_coarser_rounding_undoes_more_of_a_change(attacked: Case) -> None:
    shares = [
        lost_in_rounding(
            attacked.model,
            attacked.block.original,
            attacked.block.unlearned,
            Scheme(bits, True, True),
            max_length=attacked.length,
        )
        for bits in (16, 8, 4, 3)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.01


def test_lost_in_rounding_rejects_unchanged_weights(attacked: Case) -> None:
    with pytest.raises(AttackInput, match="same weights"):
        lost_in_rounding(
            attacked.model,
            attacked.block.original,
            attacked.block.original,
            SCHEMES[0],
            max_length=attacked.length,
        )


def test_directions_are_reported_by_layer(attacked: Case, scene) -> None:
    result = junk_direction(scene.original, scene.unlearned, attacked.forget, replay=scene.replay)
    assert set(result.layers) == {"0", "1", "2", "all"}
    assert result.value == max(result.layers.values())
    assert all(length > 0 for length in result.shift)


def test_removing_the_direction_of_an_unchanged_model_changes_nothing(
    attacked: Case, scene
) -> None:
    same = junk_direction(scene.original, scene.original, attacked.forget)
    assert set(same.layers.values()) == {same.plain}


def test_a_prompt_beyond_max_length_is_rejected(scene) -> None:
    with pytest.raises(AttackInput, match="more than max_length"):
        ask(scene.unlearned, [Asked("word " * 600)], max_new_tokens=1)


def test_a_membership_attack_without_unseen_pairs_is_rejected(scene) -> None:
    with pytest.raises(AttackInput, match="One is empty"):
        loss_attack(scene.unlearned, [Example("q", "a", "s")], [])
