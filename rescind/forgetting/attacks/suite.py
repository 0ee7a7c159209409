"""Runs of several attacks on one scene, as one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rescind.forgetting.attacks.errors import AttackInput, AttackSetting, UnknownAttack
from rescind.forgetting.attacks.registry import Attack
from rescind.forgetting.attacks.scene import Scene
from rescind.forgetting.attacks.settings import SuiteSettings

FORMAT = "rescind.attacks/1"


def run_suite(
    attacks: Mapping[str, Attack],
    scene: Scene,
    names: Sequence[str] | None,
    seeds: Sequence[int],
    settings: SuiteSettings,
) -> dict[str, Any]:
    """Run attacks on a scene; `attack_suite` of this package documents the arguments."""
    if not seeds:
        raise AttackSetting("There are no seeds. Pass at least one.")
    chosen, skipped = _choose(attacks, scene, names)
    return {
        "format": FORMAT,
        "counts": {
            "forget": len(scene.forget),
            "unseen": len(scene.unseen),
            "retain": len(scene.retain),
            "benign": len(scene.benign),
        },
        "has": {"original": scene.original is not None, "replay": scene.replay is not None},
        "seeds": [int(seed) for seed in seeds],
        "attacks": {attack.name: _report(attack, scene, settings, seeds) for attack in chosen},
        "skipped": skipped,
    }


def _choose(
    attacks: Mapping[str, Attack], scene: Scene, names: Sequence[str] | None
) -> tuple[list[Attack], dict[str, str]]:
    unknown = [name for name in names or () if name not in attacks]
    if unknown:
        raise UnknownAttack(
            f"{unknown[0]!r} is not an attack. Known attacks: {', '.join(attacks)}."
        )
    selected = list(attacks) if names is None else list(dict.fromkeys(names))
    missing = {name: scene.lacks(attacks[name].needs) for name in selected}
    if names is not None:
        for name, parts in missing.items():
            if parts:
                raise AttackInput(
                    f"Attack {name!r} needs {', '.join(parts)}, which the scene does not have. Add "
                    "it to the scene or leave the attack out."
                )
    skipped = {name: f"needs {', '.join(parts)}" for name, parts in missing.items() if parts}
    return [attacks[name] for name in selected if not missing[name]], skipped


def _report(
    attack: Attack, scene: Scene, settings: SuiteSettings, seeds: Sequence[int]
) -> dict[str, Any]:
    """Run one attack and report its mean figures; an attack without a seed is run once."""
    began = time.monotonic()
    used = list(seeds) if attack.seeded else [seeds[0]]
    results = [attack.run(scene, settings, seed) for seed in used]
    values = [result.value for result in results]
    known = [value for value in values if value is not None]
    return {
        "orientation": attack.orientation,
        "source": attack.source,
        "value": _mean(values),
        "deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "replay_value": _mean([result.replay_value for result in results]),
        "gap": _mean([result.gap for result in results]),
        "seconds": time.monotonic() - began,
        "runs": [
            {**result.to_dict(), "seed": int(seed) if attack.seeded else None}
            for seed, result in zip(used, results, strict=True)
        ],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
