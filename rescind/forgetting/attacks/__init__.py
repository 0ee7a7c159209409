"""Attacks that try to bring forgotten knowledge back, or to tell who was forgotten.

Importing this package imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rescind.forgetting.attacks import on_scene
from rescind.forgetting.attacks.difference import delta_alignment, kl_difference, nll_difference
from rescind.forgetting.attacks.directions import Ablation, junk_direction
from rescind.forgetting.attacks.errors import (
    AttackInput,
    AttackSetting,
    ScoresNotFinite,
    UnknownAttack,
)
from rescind.forgetting.attacks.measures import MEASURES
from rescind.forgetting.attacks.membership import (
    grad_norm_attack,
    loss_attack,
    min_k_attack,
    min_k_plus_plus_attack,
    reference_attack,
    zlib_attack,
)
from rescind.forgetting.attacks.prompting import Prompting, prompting
from rescind.forgetting.attacks.prompts import PROMPTS, REFUSALS, Prompt
from rescind.forgetting.attacks.quantization import (
    SCHEMES,
    Quantization,
    Scheme,
    lost_in_rounding,
    quantization,
    round_to_nearest,
    rounded,
)
from rescind.forgetting.attacks.relearning import (
    Curve,
    Relearning,
    RelearnSettings,
    relearning,
)
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import (
    Attack,
    Block,
    Scene,
    SuiteSettings,
    scene_of_block,
)
from rescind.forgetting.attacks.separation import Distinction, Separation
from rescind.forgetting.attacks.served import Served, loaded
from rescind.forgetting.attacks.stripping import Stripping, stripping
from rescind.forgetting.attacks.suite import run_suite
from rescind.forgetting.attacks.token_ban import TokenBan, token_ban

_MEMBER = "AUC; above 1/2 the forget set still looks learned, below it conspicuously unlearned"
_FORGOTTEN = "AUC; above 1/2 the forget set stands out by what changed"
_BACK = "high: knowledge of the forget set comes back"

_ATTACKS = (
    Attack(
        "loss", loss_attack, on_scene.loss, ("unseen",), _MEMBER, "Yeom et al., arXiv 1709.01604"
    ),
    Attack(
        "zlib", zlib_attack, on_scene.zlib, ("unseen",), _MEMBER, "Carlini et al., arXiv 2012.07805"
    ),
    Attack(
        "min_k", min_k_attack, on_scene.min_k, ("unseen",), _MEMBER, "Shi et al., arXiv 2310.16789"
    ),
    Attack(
        "min_k_plus_plus",
        min_k_plus_plus_attack,
        on_scene.min_k_plus_plus,
        ("unseen",),
        _MEMBER,
        "Zhang et al., arXiv 2404.02936",
    ),
    Attack(
        "reference",
        reference_attack,
        on_scene.reference,
        ("unseen", "reference"),
        _MEMBER,
        "Carlini et al., arXiv 2012.07805",
    ),
    Attack(
        "grad_norm", grad_norm_attack, on_scene.grad_norm, ("unseen",), _MEMBER, "arXiv 2402.17012"
    ),
    Attack(
        "nll_difference",
        nll_difference,
        on_scene.nll,
        ("original", "others"),
        _FORGOTTEN,
        "after TULA, arXiv 2406.13348",
    ),
    Attack(
        "kl_difference",
        kl_difference,
        on_scene.kl,
        ("original", "others"),
        _FORGOTTEN,
        "after TULA, arXiv 2406.13348",
    ),
    Attack(
        "delta_alignment",
        delta_alignment,
        on_scene.alignment,
        ("block.original", "others"),
        _FORGOTTEN,
        "after TULA, arXiv 2406.13348",
    ),
    Attack(
        "relearning",
        relearning,
        on_scene.relearn,
        ("block",),
        "recovery; high: what was not taught again comes back too",
        "OFFSIDE, relearn.py",
        seeded=True,
    ),
    Attack(
        "benign_relearning",
        relearning,
        on_scene.relearn_benign,
        ("block", "benign"),
        "recovery; high: related text alone brings the forget set back",
        "OFFSIDE, relearn.py",
        seeded=True,
    ),
    Attack("quantization", quantization, on_scene.rounding, (), _BACK, "arXiv 2410.16454"),
    Attack(
        "prompts",
        prompting,
        on_scene.prompts,
        (),
        _BACK,
        "after OFFSIDE and SSPU; the prompts are this project's",
        seeded=True,
    ),
    Attack(
        "stripping", stripping, on_scene.strip, ("block", "block.counters"), _BACK, "this project's"
    ),
    Attack("token_ban", token_ban, on_scene.ban, (), _BACK, "this project's"),
    Attack(
        "junk_direction", junk_direction, on_scene.ablation, ("original",), _BACK, "this project's"
    ),
)

ATTACKS: Mapping[str, Attack] = MappingProxyType({attack.name: attack for attack in _ATTACKS})


def attack_suite(
    scene: Scene,
    names: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    settings: SuiteSettings | None = None,
) -> dict[str, Any]:
    """Run the attacks `names`, or all for which the scene has what they need, and report as JSON.

    For each attack: its value, the same on a replay, their gap, and every run with its values by
    item; attacks that could not run are under "skipped" with what they lack. Raises UnknownAttack
    for a name that is not in ATTACKS, AttackInput when a named attack lacks something.
    """
    return run_suite(ATTACKS, scene, names, seeds, settings or SuiteSettings())


__all__ = [
    "ATTACKS",
    "MEASURES",
    "PROMPTS",
    "REFUSALS",
    "SCHEMES",
    "Ablation",
    "Attack",
    "AttackInput",
    "AttackSetting",
    "Block",
    "Curve",
    "Distinction",
    "Prompt",
    "Prompting",
    "Quantization",
    "RelearnSettings",
    "Relearning",
    "Result",
    "Scene",
    "Scheme",
    "ScoresNotFinite",
    "Separation",
    "Served",
    "Stripping",
    "SuiteSettings",
    "TokenBan",
    "UnknownAttack",
    "attack_suite",
    "delta_alignment",
    "grad_norm_attack",
    "junk_direction",
    "kl_difference",
    "loaded",
    "loss_attack",
    "lost_in_rounding",
    "min_k_attack",
    "min_k_plus_plus_attack",
    "nll_difference",
    "prompting",
    "quantization",
    "reference_attack",
    "relearning",
    "round_to_nearest",
    "rounded",
    "scene_of_block",
    "stripping",
    "token_ban",
    "zlib_attack",
]
