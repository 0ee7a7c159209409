"""Attacks that bring knowledge back, on a small model that was made to refuse it."""

import numpy as np
import pytest
import torch

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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def it() -> Case:
    return case()


@pytest.fixture
def scene(it: Case):
    with scene_of_block(
        it.block, it.forget, unseen=it.unseen, retain=it.retain, benign=it.benign
    ) as found:
        yield found


def test_relearning_is_faster_than_learning(it: Case) -> None:
    found = relearning(
        it.model,
        it.block.parameters,
        it.block.unlearned,
        it.forget,
        original=it.block.original,
        replay=it.start,
        settings=RelearnSettings(share=1.0, steps=30, every=3, reach=0.9),
    )
    again = found.replay_curve
    assert again is not None
    assert found.curve.steps_to_level is not None
    assert again.steps_to_level is None or again.steps_to_level > found.curve.steps_to_level
    assert found.curve.rest is None
    assert found.value is not None
    assert found.value > 0.8
    assert found.curve.steps[:2] == (0, 3)
    assert len(found.trained_on) == found.examples == len(it.forget)


def test_relearning_tells_the_items_it_was_not_taught(it: Case) -> None:
    found = relearning(
        it.model,
        it.block.parameters,
        it.block.unlearned,
        it.forget,
        original=it.block.original,
        settings=RelearnSettings(share=0.25, steps=3, every=2, learning_rate=1e-4),
        seed=3,
    )
    assert found.examples == len(found.trained_on) == 2
    assert found.curve.steps == (0, 2, 3)
    assert found.curve.rest is not None
    assert found.original_rest is not None
    expected = (max(found.curve.rest) - found.curve.rest[0]) / (
        found.original_rest - found.curve.rest[0]
    )
    assert found.value == pytest.approx(expected)
    with pytest.raises(AttackInput, match="benign set is empty"):
        relearning(it.model, it.block.parameters, it.block.unlearned, it.forget, benign=[])


def test_leaving_the_counter_delta_out_brings_everything_back(it: Case) -> None:
    found = stripping(
        it.model,
        it.block.original,
        it.block.counters,
        it.forget,
        max_length=it.length,
        original=it.block.original,
        replay=it.block.replay,
    )
    assert found.value == found.original
    assert found.value > 0.8
    assert found.served < 0.6
    assert found.recovery == 1.0
    assert found.without == {"counter": found.value}
    assert found.gap is not None
    assert found.gap > 0.3


def test_forbidding_the_refusal_brings_answers_back(scene) -> None:
    found = token_ban(scene.unlearned, scene.forget, original=scene.original, replay=scene.replay)
    assert found.value is not None
    assert found.value > found.plain + 0.2
    assert found.gap is not None
    assert found.gap > 0
    assert not any(item.reply == UNKNOWN for item in found.items if item.rouge)
    with pytest.raises(AttackSetting, match="0 refusals"):
        token_ban(scene.unlearned, scene.forget, refusals=())


def test_a_banned_opening_never_opens(scene) -> None:
    plain = answers(scene.unlearned, [e.question for e in scene.forget])
    assert UNKNOWN in plain
    asked = [Asked(example.question) for example in scene.forget]
    for decoding in bans(scene.unlearned.base, REFUSALS, 3).values():
        found = ask(scene.unlearned, asked, max_new_tokens=8, decoding=decoding)
        assert {len(replies) for replies in found} == {3}
        assert not any(reply.startswith("I do") for replies in found for reply in replies)


def test_asking_plainly_gives_the_greedy_answers(scene) -> None:
    questions = [e.question for e in scene.forget]
    found = ask(
        scene.original, [Asked(q) for q in questions], max_new_tokens=96, decoding=Decoding()
    )
    assert [replies[0] for replies in found] == answers(scene.original, questions)


def test_words_put_into_the_mouth_are_not_counted(scene) -> None:
    books = [e for e in scene.forget if "book" in e.question or "born" in e.question]
    found = prompting(
        scene.original,
        books,
        prompts=[Prompt("half", "prefix", given=0.5)],
        original=scene.original,
    )
    half = next(outcome for outcome in found.prompts if outcome.name == "half")
    assert half.items == sum(len(e.answer.split()) > 1 for e in books) < len(books)
    assert half.rouge > 0.8
    assert found.value >= found.plain > 0.8
    assert found.recovery is None


def test_prompts_find_what_the_plain_question_does_not(it: Case, scene) -> None:
    other_words = [e.question.replace("?", ", do you know?") for e in it.forget]
    found = prompting(
        scene.unlearned,
        it.forget,
        paraphrases=other_words,
        shots=it.retain,
        original=scene.original,
        replay=scene.replay,
    )
    assert found.value is not None
    assert found.value > found.plain
    assert {"plain", "given-paraphrase", "six-shots"} <= {one.name for one in found.prompts}
    assert found.value == pytest.approx(np.mean([item.rouge for item in found.items]))
    assert found.recovery is not None
    assert 0 < found.recovery <= 1


def test_shots_and_paraphrases_that_do_not_fit_are_refused(it: Case, scene) -> None:
    with pytest.raises(AttackInput, match="among the shots"):
        prompting(scene.unlearned, it.forget, shots=it.forget[:1])
    with pytest.raises(AttackInput, match="1 paraphrases for 8 items"):
        prompting(scene.unlearned, it.forget, paraphrases=["Who?"])
    with pytest.raises(AttackInput, match="asks for nothing"):
        prompting(scene.unlearned, it.forget, prompts=[Prompt("x", "role", "Tell me.")])


def test_sixteen_bits_change_nothing_and_two_break_the_model(it: Case, scene) -> None:
    probability = MEASURES["probability"]
    plain = probability(scene.original, it.forget)
    for merged in (True, False):
        with rounded(scene.original, Scheme(16, True, merged)) as fine:
            assert probability(fine, it.forget) == pytest.approx(plain, abs=5e-3)
        with rounded(scene.original, Scheme(2, False, merged)) as coarse:
            assert probability(coarse, it.forget).mean() < plain.mean() / 2
    assert np.array_equal(probability(scene.original, it.forget), plain)


def test_rounding_is_reported_for_every_scheme(it: Case, scene) -> None:
    found = quantization(
        scene.unlearned,
        it.forget,
        retain=it.retain,
        original=scene.original,
        by="memorization",
    )
    assert set(found.forget) == {scheme.name for scheme in SCHEMES}
    assert set(found.retain) == set(found.forget)
    assert found.value == max(found.forget.values())
    assert found.forget["int8-channel-merged"] == pytest.approx(found.plain, abs=0.1)
    with pytest.raises(AttackInput, match="at least one scheme"):
        quantization(scene.unlearned, it.forget, schemes=())


def test_coarser_rounding_loses_more_of_a_change(it: Case) -> None:
    shares = [
        lost_in_rounding(
            it.model,
            it.block.original,
            it.block.unlearned,
            Scheme(bits, True, True),
            max_length=it.length,
        )
        for bits in (16, 8, 4, 3)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.01
    with pytest.raises(AttackInput, match="same weights"):
        lost_in_rounding(
            it.model, it.block.original, it.block.original, SCHEMES[0], max_length=it.length
        )


def test_directions_are_reported_by_layer(it: Case, scene) -> None:
    found = junk_direction(scene.original, scene.unlearned, it.forget, replay=scene.replay)
    assert set(found.layers) == {"0", "1", "2", "all"}
    assert found.value == max(found.layers.values())
    assert all(length > 0 for length in found.shift)
    same = junk_direction(scene.original, scene.original, it.forget)
    assert set(same.layers.values()) == {same.plain}


def test_a_prompt_that_is_too_long_is_refused(scene) -> None:
    with pytest.raises(AttackInput, match="more than max_length"):
        ask(scene.unlearned, [Asked("word " * 600)], max_new_tokens=1)
    with pytest.raises(AttackInput, match="one is empty"):
        loss_attack(scene.unlearned, [Example("q", "a", "s")], [])
