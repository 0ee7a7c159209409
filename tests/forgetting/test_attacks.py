"""Attacks on a small model that learned invented people and was trained to refuse some of them."""

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

pytestmark = pytest.mark.slow
"""The model is trained for most of a minute. test_attacks_scores.py has what needs none."""

QUICK = SuiteSettings(
    relearning=RelearnSettings(steps=4),
    schemes=(Scheme(4, True, True), Scheme(4, True, False)),
    prompts=PROMPTS[10:14],
)


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
    """Return everything that an attack could leave changed."""
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
def test_an_attack_restores_the_model(attacked: Case, name: str, adapter) -> None:
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


def test_the_loss_attack_distinguishes_learned_items_from_unseen_ones(attacked: Case) -> None:
    with loaded(attacked.model, attacked.block.original, max_length=attacked.length) as original:
        result = loss_attack(original, attacked.forget, attacked.unseen)
    assert result.value is not None
    assert result.value > 0.8
    assert result.separations["unseen"].forget == len(attacked.forget)
    assert len(result.scores["forget"]) == len(attacked.forget)
    assert result.gap is None


def test_membership_attacks_find_more_in_the_unlearned_model_than_in_a_replay(scene) -> None:
    result = attack_suite(scene, ["loss", "zlib", "min_k", "min_k_plus_plus", "reference"])
    for name, attack in result["attacks"].items():
        assert attack["gap"] > 0.1, name
        assert attack["replay_value"] < 0.9, name


def test_gradient_norms_equal_those_of_the_merged_model(attacked: Case) -> None:
    merged = load_base(attacked.model.base.folder, device="cpu")
    targets = dict(merged.model.named_parameters())
    scale = attacked.model.lora.alpha / attacked.model.lora.rank
    with torch.no_grad():
        for name in [n for n in attacked.model.shapes if n.endswith(".lora_A")]:
            module = name.removesuffix(".lora_A")
            b, a = attacked.block.original[f"{module}.lora_B"], attacked.block.original[name]
            targets[f"{module}.weight"].add_(torch.from_numpy(scale * (b @ a)))
    with loaded(attacked.model, attacked.block.original, max_length=attacked.length) as served:
        served_scores = grad_norm_attack(served, attacked.forget[:2], attacked.unseen[:2])
    alone = OneNetwork(merged, merged.model, attacked.length)
    alone_scores = grad_norm_attack(alone, attacked.forget[:2], attacked.unseen[:2])
    for name in served_scores.scores:
        assert served_scores.scores[name] == pytest.approx(alone_scores.scores[name], rel=1e-3)
    assert max(served_scores.scores["forget"]) < 0


def test_gradient_norms_of_another_order_are_rejected(scene) -> None:
    with pytest.raises(AttackSetting, match="1, 2 or infinity"):
        grad_norm_attack(scene.unlearned, scene.forget, scene.unseen, p=3.0)


def test_the_gradient_of_an_adapter_equals_the_slope_of_its_loss(attacked: Case) -> None:
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


def test_the_difference_of_two_models_shows_the_forget_set(scene) -> None:
    for attack in (nll_difference, kl_difference):
        result = attack(scene.original, scene.unlearned, scene.forget, scene.others)
        assert result.separations["retain"].auc > 0.9
        assert min(result.scores["retain"]) < max(result.scores["forget"])


def test_the_difference_of_a_model_and_itself_shows_nothing(scene) -> None:
    result = kl_difference(scene.original, scene.original, scene.forget, scene.others)
    assert {score for values in result.scores.values() for score in values} == {0.0}
    assert result.value == 0.5


def test_a_step_along_the_forget_set_gradient_is_found_by_its_direction(attacked: Case) -> None:
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


def test_delta_alignment_rejects_an_unchanged_adapter(attacked: Case) -> None:
    before, others = attacked.block.replay, {"unseen": attacked.unseen}
    with pytest.raises(AttackInput, match="same adapter"):
        delta_alignment(
            attacked.model, before, before, attacked.forget, others, max_length=attacked.length
        )


def test_weights_are_restored_when_an_attack_fails(attacked: Case) -> None:
    def fail_midway(served: Served) -> None:
        with rounded(served, SCHEMES[0]) as rounded_model:
            for _network, _indices in rounded_model.groups(["?"]):
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


def test_a_suite_reports_every_run_as_json(scene) -> None:
    names = ["loss", "relearning"]
    result = attack_suite(scene, names, seeds=(1, 2), settings=QUICK)
    assert json.loads(json.dumps(result, allow_nan=False))["format"] == "rescind.attacks/1"
    assert list(result["attacks"]) == names
    loss, relearned = (result["attacks"][name] for name in names)
    assert [run["seed"] for run in loss["runs"]] == [None]
    assert [run["seed"] for run in relearned["runs"]] == [1, 2]
    assert relearned["value"] == pytest.approx(np.mean([run["value"] for run in relearned["runs"]]))
    assert relearned["deviation"] is not None
    assert loss["gap"] == pytest.approx(loss["value"] - loss["replay_value"])


def test_a_suite_skips_attacks_whose_parts_are_missing(scene) -> None:
    bare = Scene(unlearned=scene.unlearned, forget=scene.forget, unseen=scene.unseen)
    result = attack_suite(bare, settings=QUICK)
    assert "loss" in result["attacks"]
    assert result["attacks"]["loss"]["gap"] is None
    assert result["skipped"]["reference"] == "needs reference"
    assert result["skipped"]["stripping"] == "needs block, block.counters"
    assert result["skipped"]["kl_difference"] == "needs original"


def test_a_named_attack_whose_parts_are_missing_is_rejected(scene) -> None:
    bare = Scene(unlearned=scene.unlearned, forget=scene.forget, unseen=scene.unseen)
    with pytest.raises(AttackInput, match="'stripping' needs block"):
        attack_suite(bare, ["stripping"])


def test_two_assistants_of_one_owner_on_one_model_are_rejected(attacked: Case) -> None:
    update = {qualify(ME, n): v for n, v in attacked.block.counters["counter"].items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    totals = weighted_sum([(delta, 10_000)])
    first, second = (Assistant(attacked.model, attacked.block.parameters, totals) for _ in range(2))
    with pytest.raises(AttackInput, match="blocks of the same owner"):
        Scene(unlearned=first, original=second, forget=attacked.forget)


def test_a_network_that_shares_its_base_model_is_rejected(attacked: Case, scene) -> None:
    network = OneNetwork(attacked.model.base, attacked.model.use("probe"), attacked.length)
    with pytest.raises(AttackInput, match="used last"):
        Scene(unlearned=network, original=scene.original, forget=attacked.forget)


def test_an_unknown_attack_is_rejected_with_the_known_ones(scene) -> None:
    with pytest.raises(UnknownAttack, match=r"'telepathy'.*loss, zlib, min_k"):
        attack_suite(scene, ["loss", "telepathy"])


def test_a_suite_without_seeds_is_rejected(scene) -> None:
    with pytest.raises(AttackSetting, match="at least one"):
        attack_suite(scene, ["loss"], seeds=())


def test_a_scene_without_a_forget_set_is_rejected(scene) -> None:
    with pytest.raises(AttackInput, match="forget set is empty"):
        replace(scene, forget=[])


def test_a_scene_whose_sets_overlap_is_rejected(scene) -> None:
    with pytest.raises(AttackInput, match="in the forget set and in unseen"):
        replace(scene, unseen=scene.forget[:1])
