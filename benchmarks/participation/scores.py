"""How near the fast contribution scores come to exact Shapley values, on real deltas.

    python -m benchmarks.participation.scores

Six organizations in one round in both layouts, and twelve in blocks: all but two train honestly (one of them
on half of its data), one sends random numbers, and one repeats another's update with a little noise. Nobody is merged with anybody, so that
the rules are compared and not the check for copies. Writes scores.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions
from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.scoring import BenchmarkScorer
from rescind.aggregator.shapley import (
    Floats,
    Remembered,
    guided,
    leave_one_out,
    rank_agreement,
    shapley,
    truncated_monte_carlo,
)
from rescind.core import Coupling
from rescind.daemon import ModelSection
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import LoraModel, RoundTraining, load_base
from rescind.training.engine.contribution import contribute

RESULTS = Path(__file__).with_name("scores.json")
CASES: tuple[tuple[Coupling, int], ...] = (("isolated", 6), ("federated", 6), ("isolated", 12))


def players(n: int) -> list[str]:
    honest = ["honest", *(f"honest {place}" for place in range(2, n - 2))]
    return [*honest, "half of its data", "random", "copy of honest"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--permutations", type=int, default=24)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "conditions": conditions(),
        "permutations": arguments.permutations,
        "rounds": [],
    }
    for coupling, n in CASES:
        for seed in range(arguments.seeds):
            told["rounds"] += _round(coupling, n, seed, arguments.steps, arguments.permutations)
    arguments.results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _round(
    coupling: Coupling, n: int, seed: int, steps: int, permutations: int
) -> list[dict[str, Any]]:
    value, rows = _value(coupling, n, seed, steps)
    exact = shapley(n, Remembered(value, rows)).mean(axis=1)

    def tmc(it: Remembered) -> Floats:
        return truncated_monte_carlo(n, it, permutations=permutations, tolerance=0.01, seed=seed)

    def gtg(it: Remembered) -> Floats:
        return guided(
            n, it, permutations=permutations, tolerance=0.01, round_tolerance=0.01, seed=seed
        )

    def alone(it: Remembered) -> Floats:
        return np.array([it(frozenset({i})) for i in range(n)])

    methods: dict[str, Callable[[Remembered], Floats]] = {
        "Shapley, exact": lambda it: shapley(n, it),
        "truncated Monte Carlo": tmc,
        "GTG-Shapley": gtg,
        "leave-one-out": lambda it: leave_one_out(n, it),
        "alone": alone,
    }
    found = []
    for name, method in methods.items():
        known = Remembered(value, rows)
        worth = method(known).mean(axis=1)
        found.append(
            {
                "layout": coupling,
                "players": n,
                "seed": seed,
                "method": name,
                "sub_models": known.asked,
                "rank_correlation": rank_agreement(exact, worth),
                "mean_error": float(np.abs(worth - exact).mean()),
                "worth": dict(zip(players(n), map(float, worth), strict=True)),
            }
        )
        last = found[-1]
        sys.stdout.write(
            f"{coupling} {n} {seed} {name:22} rho {last['rank_correlation']:6.3f}, "
            f"error {last['mean_error']:.4f}, {known.asked} sub-models\n"
        )
    sys.stdout.flush()
    return found


def _value(coupling: Coupling, n: int, seed: int, steps: int) -> tuple[Any, int]:
    corpus, base = generated(n - 2, seed), load_base(BASE_MODEL)
    model = LoraModel(base, default_lora(coupling))
    parameters = default_parameters(coupling, base.id, model.shapes, seed=seed)
    names = [f"0x{place:040x}" for place in range(1, n + 1)]
    dice = np.random.default_rng(seed)
    deltas: dict[str, dict[str, Any]] = {}
    for who, rows in zip(names, corpus.organizations.values(), strict=False):
        share = 0.5 if who == names[n - 3] else 1.0
        made = contribute(
            model,
            parameters,
            who,
            1,
            {},
            list(rows),
            None,
            RoundTraining(steps=steps),
            data_fraction=share,
        )
        deltas[who] = dict(made.quantized.delta)
    first = deltas[names[0]]
    for who, noise in ((names[n - 2], None), (names[n - 1], 0.05)):
        deltas[who] = {}
        for name, value in first.items():
            spread = max(1.0, float(np.abs(value).mean()))
            mine = name.replace(names[0], who)
            drawn = dice.normal(0, spread if noise is None else noise * spread, value.shape)
            kept = 0 if noise is None else value
            deltas[who][mine] = np.round(kept + drawn).astype(value.dtype)
    section, settings = EvaluationSection(data=Path()), ModelSection(path=str(BASE_MODEL))
    scorer = BenchmarkScorer(section, settings, parameters, corpus.shared)
    groups = [[who] for who in names]
    return scorer.value_of(groups, deltas, {})


if __name__ == "__main__":
    main()
