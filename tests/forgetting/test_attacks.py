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


def state(attacked: Case) -> dict[str, object]:
    """Everything that an attack could leave changed."""
    network, modules = attacked.model._peft, list(attacked.model.base.model.modules())
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
def test_an_attack_leaves_the_model_as_it_found_it(attacked: Case, name: str, adapter) -> None:
    attacked.model.put("mine", attacked.block.original)
    attacked.model.put("round", attacked.block.replay)
    attacked.model.use("round")
    whole = state(attacked)
    with scene_of_block(
        attacked.block,
        attacked.forget[:4],
        unseen=attacked.unseen[:4],
        retain=attacked.retain[:4],
        benign=attacked.benign[:4],
    ) as scene:
        attacked.model.use("mine")
        attacked.model.use(adapter)
        before = state(attacked)
        attack_suite(scene, [name], settings=QUICK)
        after = state(attacked)
        attacked.model.use("round")
    assert [key for key in before if before[key] != after[key]] == []
    whole_after = state(attacked)
    assert [key for key in whole if whole[key] != whole_after[key]] == []


def test_what_was_learned_is_told_from_what_was_not(attacked: Case) -> None:
    with loaded(attacked.model, attacked.block.original, max_length=attacked.length) as original:
        result = loss_attack(original, attacked.forget, attacked.unseen)
    assert result.value is not None
    assert result.value > 0.8
    assert result.separations["unseen"].forget == len(attacked.forget)
    assert len(result.scores["forget"]) == len(attacked.forget)
    assert result.gap is None


def test_an_unlearned_model_gives_its_members_away_where_a_replay_does_not(scene) -> None:
    result = attack_suite(scene, ["loss", "zlib", "min_k", "min_k_plus_plus", "reference"])
    for name, attack in result["attacks"].items():
        assert attack["gap"] > 0.1, name
        assert attack["replay_value"] < 0.9, name


def test_gradient_norms_are_those_of_the_merged_model(attacked: Case) -> None:
    merged = load_base(attacked.model.base.folder, device="cpu")
    targets = dict(merged.model.named_parameters())
    scale = attacked.model.lora.alpha / attacked.model.lora.rank
    with torch.no_grad():
        for name in [n for n in attacked.model.shapes if n.endswith(".lora_A")]:
            module = name.removesuffix(".lora_A")
            b, a = attacked.block.original[f"{module}.lora_B"], attacked.block.original[name]
            targets[f"{module}.weight"].add_(torch.from_numpy(scale * (b @ a)))
    with loaded(attacked.model, attacked.block.original, max_length=attacked.length) as served:
        ours = grad_norm_attack(served, attacked.forget[:2], attacked.unseen[:2])
    alone = OneNetwork(merged, merged.model, attacked.length)
    theirs = grad_norm_attack(alone, attacked.forget[:2], attacked.unseen[:2])
    for name in ours.scores:
        assert ours.scores[name] == pytest.approx(theirs.scores[name], rel=1e-3)
    assert max(ours.scores["forget"]) < 0
    with pytest.raises(AttackSetting, match="1, 2 or infinity"):
        grad_norm_attack(alone, attacked.forget, attacked.unseen, p=3.0)


def test_the_loss_gradient_of_an_adapter_is_the_slope_of_the_loss(attacked: Case) -> None:
    example, step = attacked.unseen[0], 1e-3
    with loaded(attacked.model, attacked.block.replay, max_length=attacked.length) as served:
        gradient = next(
            adapter_gradients(attacked.model, served.adapter, [example], attacked.length)
        )
        before = token_scores(served, [example])[0].loss
    size = np.sqrt(sum(float((g**2).sum()) for g in gradient.values()))
    moved = {
        name: (value - step / size * gradient[name]).astype(np.float32)
        for name, value in attacked.block.replay.items()
    }
    with loaded(attacked.model, moved, max_length=attacked.length) as served:
        after = token_scores(served, [example])[0].loss
    assert before - after == pytest.approx(step * size, rel=0.05)


def test_who_holds_both_models_sees_what_was_forgotten(scene) -> None:
    for attack in (nll_difference, kl_difference):
        result = attack(scene.original, scene.unlearned, scene.forget, scene.others)
        assert result.separations["retain"].auc > 0.9
        assert min(result.scores["retain"]) < max(result.scores["forget"])


def test_nothing_differs_between_a_model_and_itself(scene) -> None:
    result = kl_difference(scene.original, scene.original, scene.forget, scene.others)
    assert {score for values in result.scores.values() for score in values} == {0.0}
    assert result.value == 0.5


def test_a_step_up_the_forget_set_points_at_it(attacked: Case) -> None:
    before = attacked.block.replay
    with loaded(attacked.model, before, max_length=attacked.length) as served:
        gradients = list(
            adapter_gradients(attacked.model, served.adapter, attacked.forget, attacked.length)
        )
    after = {
        name: (value + 0.1 * sum(g[name] for g in gradients)).astype(np.float32)
        for name, value in before.items()
    }
    others = {"unseen": attacked.unseen, "retain": attacked.retain}
    result = delta_alignment(
        attacked.model,
        before,
        after,
        attacked.forget,
        others,
        max_length=attacked.length,
        replay=attacked.block.original,
    )
    assert result.separations["unseen"].auc > 0.8
    assert result.separations["retain"].auc > 0.9
    assert result.replay_value is not None
    with pytest.raises(AttackInput, match="same adapter"):
        delta_alignment(
            attacked.model, before, before, attacked.forget, others, max_length=attacked.length
        )


def test_weights_are_put_back_when_an_attack_fails(attacked: Case) -> None:
    def fail_midway(served: Served) -> None:
        with rounded(served, SCHEMES[0]) as one:
            for _network, _places in one.groups(["?"]):
                assert state(attacked)["parameters"] != before
                raise RuntimeError("midway")

    with loaded(attacked.model, attacked.block.original, max_length=attacked.length) as served:
        before = state(attacked)["parameters"]
        with pytest.raises(RuntimeError, match="midway"):
            fail_midway(served)
        assert state(attacked)["parameters"] == before


def test_attacks_work_on_a_routed_set_of_blocks(attacked: Case) -> None:
    owners = [ME, "0x" + "cd" * 20]
    totals = {}
    for owner, tensors in zip(
        owners, (attacked.block.original, attacked.block.replay), strict=True
    ):
        start = materialize(
            {}, attacked.model.shapes, parameters=attacked.block.parameters, owner=owner
        )
        update = {
            qualify(owner, name): value.astype(np.float64) - start[name]
            for name, value in tensors.items()
        }
        delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
        totals |= weighted_sum([(delta, 10_000)])
    assistant = Assistant(attacked.model, attacked.block.parameters, totals)
    assert set(assistant.route([e.question for e in attacked.forget])[0]) != {None}
    scene = Scene(
        unlearned=assistant,
        forget=attacked.forget,
        unseen=attacked.unseen,
        reference=Served(attacked.model, None, attacked.length),
    )
    result = attack_suite(scene, ["loss", "reference", "grad_norm", "quantization", "token_ban"])
    assert result["attacks"]["loss"]["value"] > 0.8
    assert result["attacks"]["quantization"]["value"] > 0.8
    json.dumps(result, allow_nan=False)


def test_a_suite_is_one_json_report(scene) -> None:
    names = ["loss", "relearning"]
    result = attack_suite(scene, names, seeds=(1, 2), settings=QUICK)
    assert json.loads(json.dumps(result, allow_nan=False))["format"] == "rescind.attacks/1"
    assert list(result["attacks"]) == names
    loss, again = (result["attacks"][name] for name in names)
    assert [run["seed"] for run in loss["runs"]] == [None]
    assert [run["seed"] for run in again["runs"]] == [1, 2]
    assert again["value"] == pytest.approx(np.mean([run["value"] for run in again["runs"]]))
    assert again["deviation"] is not None
    assert loss["gap"] == pytest.approx(loss["value"] - loss["replay_value"])


def test_a_suite_runs_what_it_can_and_says_what_it_lacks(scene) -> None:
    bare = Scene(unlearned=scene.unlearned, forget=scene.forget, unseen=scene.unseen)
    result = attack_suite(bare, settings=QUICK)
    assert "loss" in result["attacks"]
    assert result["attacks"]["loss"]["gap"] is None
    assert result["skipped"]["reference"] == "needs reference"
    assert result["skipped"]["stripping"] == "needs block, block.counters"
    assert result["skipped"]["kl_difference"] == "needs original"
    with pytest.raises(AttackInput, match="'stripping' needs block"):
        attack_suite(bare, ["stripping"])


def test_models_that_would_answer_for_each_other_are_refused(attacked: Case, scene) -> None:
    update = {qualify(ME, n): v for n, v in attacked.block.counters["counter"].items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    totals = weighted_sum([(delta, 10_000)])
    one, other = (Assistant(attacked.model, attacked.block.parameters, totals) for _ in range(2))
    with pytest.raises(AttackInput, match="blocks of the same owner"):
        Scene(unlearned=one, original=other, forget=attacked.forget)
    network = OneNetwork(attacked.model.base, attacked.model.use("probe"), attacked.length)
    with pytest.raises(AttackInput, match="used last"):
        Scene(unlearned=network, original=scene.original, forget=attacked.forget)


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
