"""Each attack on a scene: which parts of it go where. The suite has checked that they are there."""

from __future__ import annotations

import numpy as np

from rescind.forgetting.attacks.difference import delta_alignment, kl_difference, nll_difference
from rescind.forgetting.attacks.directions import junk_direction
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.membership import (
    grad_norm_attack,
    loss_attack,
    min_k_attack,
    min_k_plus_plus_attack,
    reference_attack,
    zlib_attack,
)
from rescind.forgetting.attacks.prompting import prompting
from rescind.forgetting.attacks.quantization import quantization
from rescind.forgetting.attacks.relearning import relearning
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import Block, Scene, SuiteSettings
from rescind.forgetting.attacks.stripping import add, stripping
from rescind.forgetting.attacks.token_ban import token_ban
from rescind.training.serving.respond import Respondent


def loss(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    return loss_attack(scene.unlearned, scene.forget, scene.unseen, replay=scene.replay)


def zlib(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    return zlib_attack(scene.unlearned, scene.forget, scene.unseen, replay=scene.replay)


def min_k(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    return min_k_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, share=settings.share
    )


def min_k_plus_plus(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    return min_k_plus_plus_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, share=settings.share
    )


def reference(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    other = _there(scene.reference)
    return reference_attack(scene.unlearned, other, scene.forget, scene.unseen, replay=scene.replay)


def grad_norm(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    return grad_norm_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, p=settings.norm
    )


def nll(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    before = _there(scene.original)
    return nll_difference(before, scene.unlearned, scene.forget, scene.others, replay=scene.replay)


def kl(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    before = _there(scene.original)
    return kl_difference(before, scene.unlearned, scene.forget, scene.others, replay=scene.replay)


def alignment(scene: Scene, _settings: SuiteSettings, _seed: int) -> Result:
    block = _block(scene)
    if block.original is None:
        raise AttackInput("delta_alignment needs block.original")
    return delta_alignment(
        block.model,
        block.original,
        block.unlearned,
        scene.forget,
        scene.others,
        max_length=block.parameters.training.max_length,
        replay=block.replay,
    )


def relearn(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return _relearn(scene, settings, seed, benign=False)


def relearn_benign(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return _relearn(scene, settings, seed, benign=True)


def _relearn(scene: Scene, settings: SuiteSettings, seed: int, *, benign: bool) -> Result:
    block = _block(scene)
    return relearning(
        block.model,
        block.parameters,
        block.unlearned,
        scene.forget,
        original=block.original,
        replay=block.replay,
        benign=scene.benign if benign else None,
        settings=settings.relearning,
        seed=seed,
    )


def rounding(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    return quantization(
        scene.unlearned,
        scene.forget,
        retain=scene.retain,
        original=scene.original,
        replay=scene.replay,
        by=settings.by,
        schemes=settings.schemes,
    )


def prompts(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return prompting(
        scene.unlearned,
        scene.forget,
        prompts=settings.prompts,
        paraphrases=scene.paraphrases,
        shots=scene.retain,
        original=scene.original,
        replay=scene.replay,
        seed=seed,
    )


def strip(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    block = _block(scene)
    negated = {
        term: {name: -np.asarray(value, dtype=np.float64) for name, value in update.items()}
        for term, update in block.counters.items()
    }
    return stripping(
        block.model,
        add(block.unlearned, negated),
        block.counters,
        scene.forget,
        max_length=block.parameters.training.max_length,
        original=block.original,
        replay=block.replay,
        by=settings.by,
    )


def ban(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    return token_ban(
        scene.unlearned,
        scene.forget,
        refusals=settings.refusals,
        beams=settings.beams,
        original=scene.original,
        replay=scene.replay,
    )


def ablation(scene: Scene, settings: SuiteSettings, _seed: int) -> Result:
    before = _there(scene.original)
    return junk_direction(
        before, scene.unlearned, scene.forget, replay=scene.replay, by=settings.by
    )


def _there(respondent: Respondent | None) -> Respondent:
    if respondent is None:
        raise AttackInput("the scene lacks a model that this attack needs: see its needs")
    return respondent


def _block(scene: Scene) -> Block:
    if scene.block is None:
        raise AttackInput("the scene lacks the block that this attack needs")
    return scene.block
