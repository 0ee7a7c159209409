"""How near the fast contribution scores come to exact Shapley values, on real deltas.

    python -m benchmarks.participation.scores

Six organizations in one round, in both layouts: four train honestly (one on half of its data), one sends
random numbers, and one repeats another's update with a little noise. Nobody is merged with anybody, so that
the rules are compared and not the check for copies. Writes scores.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters import Coupling
from agents.scores import (
    Floats,
    Remembered,
    guided,
    leave_one_out,
    rank_agreement,
    shapley,
    truncated_monte_carlo,
)
from aggregator.config import EvaluationSection, ModelSection
from aggregator.scoring import BenchmarkScorer
from benchmarks.conditions import conditions
from devnet.data import generated
from devnet.defaults import BASE_MODEL, default_lora, default_parameters
from training import LoraModel, load_base, write_examples
from training.contribution import contribute

RESULTS = Path(__file__).with_name("scores.json")
PLAYERS = ("honest", "honest 2", "honest 3", "half of its data", "random", "copy of honest")


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
    for coupling in ("isolated", "federated"):
        for seed in range(arguments.seeds):
            told["rounds"] += _round(coupling, seed, arguments.steps, arguments.permutations)
    arguments.results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _round(coupling: Coupling, seed: int, steps: int, permutations: int) -> list[dict[str, Any]]:
    value, rows = _value(coupling, seed, steps)
    n = len(PLAYERS)
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
                "seed": seed,
                "method": name,
                "sub_models": known.asked,
                "rank_correlation": rank_agreement(exact, worth),
                "mean_error": float(np.abs(worth - exact).mean()),
                "worth": dict(zip(PLAYERS, map(float, worth), strict=True)),
            }
        )
        last = found[-1]
        sys.stdout.write(
            f"{coupling} {seed} {name:22} rho {last['rank_correlation']:6.3f}, "
            f"error {last['mean_error']:.4f}, {known.asked} sub-models\n"
        )
    sys.stdout.flush()
    return found


def _value(coupling: Coupling, seed: int, steps: int) -> tuple[Any, int]:
    corpus, base = generated(4, seed), load_base(BASE_MODEL)
    model = LoraModel(base, default_lora(coupling))
    parameters = default_parameters(coupling, base.id, model.shapes, seed=seed)
    names = [f"0x{n:040x}" for n in range(1, 7)]
    dice = np.random.default_rng(seed)
    deltas: dict[str, dict[str, Any]] = {}
    for who, rows in zip(names, corpus.organizations.values(), strict=False):
        share = 0.5 if who == names[3] else 1.0
        made = contribute(
            model, parameters, who, 1, {}, list(rows), None, steps=steps, data_fraction=share
        )
        deltas[who] = dict(made.quantized.delta)
    first = deltas[names[0]]
    for who, noise in ((names[4], None), (names[5], 0.05)):
        deltas[who] = {}
        for name, value in first.items():
            spread = max(1.0, float(np.abs(value).mean()))
            mine = name.replace(names[0], who)
            drawn = dice.normal(0, spread if noise is None else noise * spread, value.shape)
            kept = 0 if noise is None else value
            deltas[who][mine] = np.round(kept + drawn).astype(value.dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.jsonl"
        write_examples(path, corpus.shared)
        section, settings = EvaluationSection(data=path), ModelSection(path=str(BASE_MODEL))
        scorer = BenchmarkScorer(section, settings, parameters)
    groups = [[who] for who in names]
    return scorer.value_of(groups, deltas, {})


if __name__ == "__main__":
    main()
