"""Attacks that try to bring forgotten knowledge back, or to find out who was forgotten.

Importing this package imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    Quantization,
    lost_in_rounding,
    quantization,
    round_to_nearest,
    rounded,
)
from rescind.forgetting.attacks.registry import Attack, registered
from rescind.forgetting.attacks.relearning import (
    Curve,
    Relearning,
    relearning,
)
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import (
    Block,
    Scene,
    scene_of_block,
)
from rescind.forgetting.attacks.separation import Distinction, Separation
from rescind.forgetting.attacks.served import Served, loaded
from rescind.forgetting.attacks.settings import SCHEMES, RelearnSettings, Scheme, SuiteSettings
from rescind.forgetting.attacks.stripping import Stripping, stripping
from rescind.forgetting.attacks.suite import run_suite
from rescind.forgetting.attacks.sums import FoundRows, find_rows, leverages, word_counts
from rescind.forgetting.attacks.token_ban import TokenBan, token_ban

_ORDER = (
    "loss",
    "zlib",
    "min_k",
    "min_k_plus_plus",
    "reference",
    "grad_norm",
    "nll_difference",
    "kl_difference",
    "delta_alignment",
    "relearning",
    "benign_relearning",
    "quantization",
    "prompts",
    "stripping",
    "token_ban",
    "junk_direction",
)
"""Order of the attacks in reports. A new attack must be added here."""

ATTACKS: Mapping[str, Attack] = registered(_ORDER)


def attack_suite(
    scene: Scene,
    names: Sequence[str] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    settings: SuiteSettings | None = None,
) -> dict[str, Any]:
    """Run attacks on a scene and return a report.

    Args:
        scene: The target.
        names: The attacks to run; by default all for which the scene has the parts they need.
        seeds: An attack that depends on a seed is run once for each of these.
        settings: The settings of the attacks.

    Returns:
        A report as JSON values. For each attack: its value, the same on a replay, their gap, and
        every run with its values by item. Attacks that could not run are under "skipped" with the
        parts that the scene does not have.

    Raises:
        UnknownAttack: A name is not in ATTACKS.
        AttackSetting: There are no seeds.
        AttackInput: The scene does not have something that a named attack needs.
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
    "FoundRows",
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
    "find_rows",
    "grad_norm_attack",
    "junk_direction",
    "kl_difference",
    "leverages",
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
    "word_counts",
    "zlib_attack",
]
