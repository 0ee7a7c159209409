"""How near the fast contribution scores come to exact Shapley values, on real deltas.

    python -m benchmarks.participation.scores

Six organizations in one round in both layouts, and twelve in blocks: all but two train honestly (one of them
on half of its data), one sends random numbers, and one repeats another's update with a little noise. Nobody is merged with anybody, so that
the rules are compared and not the check for copies. Writes scores.json beside this file.

    python -m benchmarks.participation.scores --sums FOLDER

The same for statistics, where a coalition is one solve: customers' questions to 77 intents (Banking77 in
FOLDER/banking77) dealt unevenly to six, ten and twenty organizations. Exact values up to ten; sampled ones
with their intervals. Writes scores-sums.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions
from benchmarks.learning.tasks import banking77
from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.scoring import BenchmarkScorer
from rescind.aggregator.shapley import (
    Floats,
    Remembered,
    Value,
    guided,
    leave_one_out,
    rank_agreement,
    sampled,
    shapley,
    truncated_monte_carlo,
)
from rescind.aggregator.statistics_scoring import Question, StatisticsScorer
from rescind.core import Coupling
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes
from rescind.daemon import ModelSection
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import LoraModel, RoundTraining, load_base
from rescind.training.engine.contribution import contribute

RESULTS = Path(__file__).with_name("scores.json")
SUMS_RESULTS = Path(__file__).with_name("scores-sums.json")
SUMS_CASES = (6, 10, 20)
FEATURES = 512
ALPHA = 0.5
_MOST_EXACT = 12
"""Players up to which all coalitions are evaluated here."""
CASES: tuple[tuple[Coupling, int], ...] = (("isolated", 6), ("federated", 6), ("isolated", 12))


def players(n: int) -> list[str]:
    honest = ["honest", *(f"honest {place}" for place in range(2, n - 2))]
    return [*honest, "half of its data", "random", "copy of honest"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--permutations", type=int, default=24)
    parser.add_argument("--sums", type=Path, help="folder with banking77")
    parser.add_argument("--players", type=int, action="append", help="with --sums")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.sums is not None:
        _sums(arguments)
        return
    told: dict[str, Any] = {
        "conditions": conditions(),
        "permutations": arguments.permutations,
        "rounds": [],
    }
    for coupling, n in CASES:
        for seed in range(arguments.seeds):
            told["rounds"] += _round(coupling, n, seed, arguments.steps, arguments.permutations)
    results = arguments.results or RESULTS
    results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _round(
    coupling: Coupling, n: int, seed: int, steps: int, permutations: int
) -> list[dict[str, Any]]:
    value, rows = _value(coupling, n, seed, steps)
    return _compared(coupling, players(n), seed, permutations, value, rows)


def _sums(arguments: argparse.Namespace) -> None:
    told: dict[str, Any] = {
        "conditions": conditions(("numpy", "scipy")),
        "permutations": arguments.permutations,
        "features": FEATURES,
        "rounds": [],
    }
    for n in arguments.players or SUMS_CASES:
        for seed in range(arguments.seeds):
            names, value, rows = _value_of_sums(arguments.sums, n, seed)
            told["rounds"] += _compared("sums", names, seed, arguments.permutations, value, rows)
            results = arguments.results or SUMS_RESULTS
            results.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _value_of_sums(data: Path, n: int, seed: int) -> tuple[list[str], Value, int]:
    dealt = banking77(data, n, seed, ALPHA)
    labels = tuple(sorted({row.answer for rows in dealt.train.values() for row in rows}))
    classes = Classes(features=NgramFeatures(buckets=FEATURES - 1), labels=labels)
    posted = {
        name: {"intents": classes.collect([r.question for r in rows], [r.answer for r in rows])}
        for name, rows in dealt.train.items()
    }
    questions = [Question("intents", row.question, row.answer) for row in dealt.test["all"]]
    scorer = StatisticsScorer({"intents": classes}, questions)
    return list(posted), scorer.value_of(list(posted), posted, {}), len(questions)


def _compared(
    layout: str, names: list[str], seed: int, permutations: int, value: Value, rows: int
) -> list[dict[str, Any]]:
    n = len(names)
    exact = shapley(n, Remembered(value, rows)).mean(axis=1) if n <= _MOST_EXACT else None
    interval: list[Floats] = []

    def sums_sampled(it: Remembered) -> Floats:
        worth, low, high = sampled(n, it, permutations=permutations, seed=seed)
        interval[:] = [low, high]
        return worth

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
        "sampled, with intervals": sums_sampled,
        "GTG-Shapley": gtg,
        "leave-one-out": lambda it: leave_one_out(n, it),
        "alone": alone,
    }
    if exact is None:
        del methods["Shapley, exact"]
    found: list[dict[str, Any]] = []
    for name, method in methods.items():
        known, began = Remembered(value, rows), time.process_time()
        worth = method(known).mean(axis=1)
        seconds = time.process_time() - began
        found.append(
            {
                "layout": layout,
                "players": n,
                "seed": seed,
                "method": name,
                "sub_models": known.asked,
                "cpu_seconds": round(seconds, 3),
                "worth": dict(zip(names, map(float, worth), strict=True)),
            }
        )
        last = found[-1]
        if exact is not None:
            last["rank_correlation"] = rank_agreement(exact, worth)
            last["mean_error"] = float(np.abs(worth - exact).mean())
        if layout == "sums" and name == "Shapley, exact":
            last["right_by_size"] = _by_size(n, known)
        if method is sums_sampled:
            low, high = interval
            last["mean_half_width"] = float((high - low).mean() / 2)
            if exact is not None:
                last["covered"] = int(((low <= exact) & (exact <= high)).sum())
        sys.stdout.write(
            f"{layout} {n} {seed} {name:23} rho {last.get('rank_correlation', np.nan):6.3f}, "
            f"error {last.get('mean_error', np.nan):.4f}, {known.asked} sub-models, {seconds:.1f} s"
            f" of CPU, half width {last.get('mean_half_width', np.nan):.4f}\n"
        )
    sys.stdout.flush()
    return found


def _by_size(n: int, value: Value) -> list[float]:
    """Return the mean value of the sets of each size, from none to all."""
    return [
        float(np.mean([value(frozenset(s)).mean() for s in combinations(range(n), size)]))
        for size in range(n + 1)
    ]


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
