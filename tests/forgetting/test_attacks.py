"""Attacks on a small model that learned made-up people and was made to refuse some of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from rescind.core import (
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.forgetting.attacks import (
    ATTACKS,
    PROMPTS,
    SCHEMES,
    AttackInput,
    AttackSetting,
    RelearnSettings,
    Scene,
    Scheme,
    Served,
    SuiteSettings,
    UnknownAttack,
    attack_suite,
    delta_alignment,
    grad_norm_attack,
    kl_difference,
    loaded,
    loss_attack,
    nll_difference,
    rounded,
    scene_of_block,
)
from rescind.forgetting.attacks.gradients import adapter_gradients
from rescind.training import Assistant, load_base
from rescind.training.serving.respond import OneNetwork, token_scores
from tests.support.attacked_model import ME, Case, case

QUICK = SuiteSettings(
    relearning=RelearnSettings(steps=4),
    schemes=(Scheme(4, True, True), Scheme(4, True, False)),
    prompts=PROMPTS[10:14],
)


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


def state(it: Case) -> dict[str, object]:
    """Everything that an attack could leave changed."""
    network, modules = it.model._peft, list(it.model.base.model.modules())
    layers = [module for module in modules if isinstance(module, BaseTunerLayer)]
    return {
        "parameters": {
            name: tensor.detach().numpy().tobytes() for name, tensor in network.named_parameters()
        },
        "flags": {name: tensor.requires_grad for name, tensor in network.named_parameters()},
        "active": (network.active_adapter, network.base_model.active_adapter),
        "layers": [(layer.active_adapters, layer.disable_adapters) for layer in layers],
        "modes": [module.training for module in modules],
        "hooks": [len(module._forward_hooks) for module in modules],
        "random": torch.get_rng_state().tolist(),
        "deterministic": torch.get_deterministic_debug_mode(),
    }


@pytest.mark.parametrize(
    ("name", "adapter"),
    [*((name, "mine") for name in ATTACKS), ("loss", None), ("relearning", None)],
)
def test_an_attack_leaves_the_model_as_it_found_it(it: Case, name: str, adapter) -> None:
    it.model.put("mine", it.block.original)
    it.model.put("round", it.block.replay)
    it.model.use("round")
    whole = state(it)
    with scene_of_block(
        it.block, it.forget[:4], unseen=it.unseen[:4], retain=it.retain[:4], benign=it.benign[:4]
    ) as scene:
        it.model.use("mine")
        it.model.use(adapter)
        before = state(it)
        attack_suite(scene, [name], settings=QUICK)
        after = state(it)
        it.model.use("round")
    assert [key for key in before if before[key] != after[key]] == []
    whole_after = state(it)
    assert [key for key in whole if whole[key] != whole_after[key]] == []


def test_what_was_learned_is_told_from_what_was_not(it: Case) -> None:
    with loaded(it.model, it.block.original, max_length=it.length) as original:
        found = loss_attack(original, it.forget, it.unseen)
    assert found.value is not None
    assert found.value > 0.8
    assert found.separations["unseen"].forget == len(it.forget)
    assert len(found.scores["forget"]) == len(it.forget)
    assert found.gap is None


def test_an_unlearned_model_gives_its_members_away_where_a_replay_does_not(scene) -> None:
    found = attack_suite(scene, ["loss", "zlib", "min_k", "min_k_plus_plus", "reference"])
    for name, attack in found["attacks"].items():
        assert attack["gap"] > 0.1, name
        assert attack["replay_value"] < 0.9, name


def test_gradient_norms_are_those_of_the_merged_model(it: Case) -> None:
    merged = load_base(it.model.base.folder, device="cpu")
    targets = dict(merged.model.named_parameters())
    scale = it.model.lora.alpha / it.model.lora.rank
    with torch.no_grad():
        for name in [n for n in it.model.shapes if n.endswith(".lora_A")]:
            module = name.removesuffix(".lora_A")
            b, a = it.block.original[f"{module}.lora_B"], it.block.original[name]
            targets[f"{module}.weight"].add_(torch.from_numpy(scale * (b @ a)))
    with loaded(it.model, it.block.original, max_length=it.length) as served:
        ours = grad_norm_attack(served, it.forget[:2], it.unseen[:2])
    alone = OneNetwork(merged, merged.model, it.length)
    theirs = grad_norm_attack(alone, it.forget[:2], it.unseen[:2])
    for name in ours.scores:
        assert ours.scores[name] == pytest.approx(theirs.scores[name], rel=1e-3)
    assert max(ours.scores["forget"]) < 0
    with pytest.raises(AttackSetting, match="1, 2 or infinity"):
        grad_norm_attack(alone, it.forget, it.unseen, p=3.0)


def test_the_loss_gradient_of_an_adapter_is_the_slope_of_the_loss(it: Case) -> None:
    example, step = it.unseen[0], 1e-3
    with loaded(it.model, it.block.replay, max_length=it.length) as served:
        gradient = next(adapter_gradients(it.model, served.adapter, [example], it.length))
        before = token_scores(served, [example])[0].loss
    size = np.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
    moved = {
        name: (value - step / size * gradient[name]).astype(np.float32)
        for name, value in it.block.replay.items()
    }
    with loaded(it.model, moved, max_length=it.length) as served:
        after = token_scores(served, [example])[0].loss
    assert before - after == pytest.approx(step * size, rel=0.05)


def test_who_holds_both_models_sees_what_was_forgotten(scene) -> None:
    for attack in (nll_difference, kl_difference):
        found = attack(scene.original, scene.unlearned, scene.forget, scene.others)
        assert found.separations["retain"].auc > 0.9
        assert min(found.scores["retain"]) < max(found.scores["forget"])


def test_nothing_differs_between_a_model_and_itself(scene) -> None:
    found = kl_difference(scene.original, scene.original, scene.forget, scene.others)
    assert {score for values in found.scores.values() for score in values} == {0.0}
    assert found.value == 0.5


def test_a_step_up_the_forget_set_points_at_it(it: Case) -> None:
    before = it.block.replay
    with loaded(it.model, before, max_length=it.length) as served:
        gradients = list(adapter_gradients(it.model, served.adapter, it.forget, it.length))
    after = {
        name: (value + 0.1 * sum(g[name] for g in gradients)).astype(np.float32)
        for name, value in before.items()
    }
    others = {"unseen": it.unseen, "retain": it.retain}
    found = delta_alignment(
        it.model, before, after, it.forget, others, max_length=it.length, replay=it.block.original
    )
    assert found.separations["unseen"].auc > 0.8
    assert found.separations["retain"].auc > 0.9
    assert found.replay_value is not None
    with pytest.raises(AttackInput, match="same adapter"):
        delta_alignment(it.model, before, before, it.forget, others, max_length=it.length)


def test_weights_are_put_back_when_an_attack_fails(it: Case) -> None:
    def fail_midway(served: Served) -> None:
        with rounded(served, SCHEMES[0]) as one:
            for _network, _places in one.groups(["?"]):
                assert state(it)["parameters"] != before
                raise RuntimeError("midway")

    with loaded(it.model, it.block.original, max_length=it.length) as served:
        before = state(it)["parameters"]
        with pytest.raises(RuntimeError, match="midway"):
            fail_midway(served)
        assert state(it)["parameters"] == before


def test_attacks_work_on_a_routed_set_of_blocks(it: Case) -> None:
    owners = [ME, "0x" + "cd" * 20]
    totals = {}
    for owner, tensors in zip(owners, (it.block.original, it.block.replay), strict=True):
        start = materialize({}, it.model.shapes, parameters=it.block.parameters, owner=owner)
        update = {
            qualify(owner, name): value.astype(np.float64) - start[name]
            for name, value in tensors.items()
        }
        delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
        totals |= weighted_sum([(delta, 10_000)])
    assistant = Assistant(it.model, it.block.parameters, totals)
    assert set(assistant.route([e.question for e in it.forget])[0]) != {None}
    scene = Scene(
        unlearned=assistant,
        forget=it.forget,
        unseen=it.unseen,
        reference=Served(it.model, None, it.length),
    )
    found = attack_suite(scene, ["loss", "reference", "grad_norm", "quantization", "token_ban"])
    assert found["attacks"]["loss"]["value"] > 0.8
    assert found["attacks"]["quantization"]["value"] > 0.8
    json.dumps(found, allow_nan=False)


def test_a_suite_is_one_json_report(scene) -> None:
    names = ["loss", "relearning"]
    found = attack_suite(scene, names, seeds=(1, 2), settings=QUICK)
    assert json.loads(json.dumps(found, allow_nan=False))["format"] == "rescind.attacks/1"
    assert list(found["attacks"]) == names
    loss, again = (found["attacks"][name] for name in names)
    assert [run["seed"] for run in loss["runs"]] == [None]
    assert [run["seed"] for run in again["runs"]] == [1, 2]
    assert again["value"] == pytest.approx(np.mean([run["value"] for run in again["runs"]]))
    assert again["deviation"] is not None
    assert loss["gap"] == pytest.approx(loss["value"] - loss["replay_value"])


def test_a_suite_runs_what_it_can_and_says_what_it_lacks(scene) -> None:
    bare = Scene(unlearned=scene.unlearned, forget=scene.forget, unseen=scene.unseen)
    found = attack_suite(bare, settings=QUICK)
    assert "loss" in found["attacks"]
    assert found["attacks"]["loss"]["gap"] is None
    assert found["skipped"]["reference"] == "needs reference"
    assert found["skipped"]["stripping"] == "needs block, block.counters"
    assert found["skipped"]["kl_difference"] == "needs original"
    with pytest.raises(AttackInput, match="'stripping' needs block"):
        attack_suite(bare, ["stripping"])


def test_models_that_would_answer_for_each_other_are_refused(it: Case, scene) -> None:
    update = {qualify(ME, n): v for n, v in it.block.counters["counter"].items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    totals = weighted_sum([(delta, 10_000)])
    one, other = (Assistant(it.model, it.block.parameters, totals) for _ in range(2))
    with pytest.raises(AttackInput, match="blocks of the same owner"):
        Scene(unlearned=one, original=other, forget=it.forget)
    network = OneNetwork(it.model.base, it.model.use("probe"), it.length)
    with pytest.raises(AttackInput, match="used last"):
        Scene(unlearned=network, original=scene.original, forget=it.forget)


def test_an_unknown_attack_is_named_with_the_known_ones(scene) -> None:
    with pytest.raises(UnknownAttack, match=r"'telepathy'.*loss, zlib, min_k"):
        attack_suite(scene, ["loss", "telepathy"])
    with pytest.raises(AttackSetting, match="at least one"):
        attack_suite(scene, ["loss"], seeds=())


def test_a_scene_keeps_its_sets_apart(scene) -> None:
    with pytest.raises(AttackInput, match="forget set is empty"):
        replace(scene, forget=[])
    with pytest.raises(AttackInput, match="in the forget set and in unseen"):
        replace(scene, unseen=scene.forget[:1])
