"""Measure what noise costs a head of summed statistics: python -m benchmarks.learning.noisy_sums

Four organizations post the statistics of their rows with one-time noise; a person has one row. The
head of their sums is compared with the one without noise, and with the likeliest label.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import conditions
from benchmarks.forgetting.table import spread
from benchmarks.learning.tasks import TaskSet, banking77, pubmedqa
from rescind.core.features import feature_rows
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.core.statistics_noise import GaussianNoise, Posting, add_noise, lifted, tolerance
from rescind.training import Example
from rescind.training.heads import solve

RESULTS = Path(__file__).parent / "noisy_sums.jsonl"
_DELTA = 1e-6
_EPSILONS = (None, 64.0, 16.0, 8.0, 4.0, 1.0)
_TASKS: Mapping[str, Callable[[Path, int], TaskSet]] = {
    "banking77, 1,540 rows": lambda data, seed: banking77(data, 4, seed, 0.5),
    "banking77, all rows": lambda data, seed: banking77(data, 4, seed, 0.5, train=10_003),
    "pubmedqa": lambda data, seed: pubmedqa(data, 4, seed),
}


@dataclass(frozen=True)
class Map:
    """A feature map, and the bound of a row's squares that suits it."""

    features: NgramFeatures
    row_square: int


MAPS = {
    "words, 127 buckets": Map(NgramFeatures(buckets=127, words=(1,), characters=()), 12),
    "n-grams, 255 buckets": Map(NgramFeatures(buckets=255), 64),
}


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=list(_TASKS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    path: Path = options.results
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for task in options.task or _TASKS:
        for seed in options.seed or (0, 1, 2):
            tasks = None
            for name, each in MAPS.items():
                key = {"task": task, "map": name, "seed": seed}
                if any(key.items() <= line.items() for line in done):
                    continue
                tasks = tasks or _TASKS[task](options.data, seed)
                line = {**key, **measure(tasks, each, seed), "conditions": conditions()}
                with path.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(line) + "\n")
                done.append(line)
    sys.stdout.write(page(done))


def measure(tasks: TaskSet, each: Map, seed: int) -> dict[str, Any]:
    """Return the share of test questions that get their label, by epsilon."""
    held = {name: rows for name, rows in tasks.train.items() if rows}
    every = [row.answer for rows in held.values() for row in rows]
    classes = Classes(
        features=each.features,
        labels=tuple(sorted(set(every))),
        max_rows=2**14,
        row_square=each.row_square,
    )
    parts = [_collected(classes, rows) for rows in held.values()]
    test = tasks.test["all"]
    features = classes.cut(feature_rows(classes.features, [row.question for row in test]))
    wanted = [row.answer for row in test]
    common = Counter(every).most_common(1)[0][0]
    right = {}
    for epsilon in _EPSILONS:
        served = _served(classes, parts, epsilon, seed)
        scores = solve(served).scores(features)
        chosen = [classes.labels[place] for place in scores.argmax(axis=1)]
        right[str(epsilon)] = float(np.mean([a == b for a, b in zip(chosen, wanted, strict=True)]))
    return {
        "right": right,
        "likeliest label": wanted.count(common) / len(wanted),
        "n": len(wanted),
        "rows": len(every),
    }


def _collected(classes: Classes, rows: Sequence[Example]) -> RowStatistics:
    return classes.collect([row.question for row in rows], [row.answer for row in rows])


def _served(
    classes: Classes, parts: Sequence[RowStatistics], epsilon: float | None, seed: int
) -> RowStatistics:
    """Return the sums that a head is solved from."""
    if epsilon is None:
        return RowStatistics.sum(parts)
    noise = GaussianNoise(epsilon=epsilon, delta=_DELTA, postings=1)
    deviations = noise.deviations(classes)
    slack = tolerance(classes, deviations)
    posted = []
    for number, part in enumerate(parts):
        secret = (1000 * seed + number).to_bytes(32, "big")
        posting = Posting(1, "")
        posted.append(add_noise(part, deviations, secret=secret, posting=posting, task="questions"))
        check(posted[-1], classes, slack)
    return lifted(RowStatistics.sum(posted), slack, len(parts))


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of means over seeds, in Markdown."""
    heads = ["no noise" if each is None else f"epsilon {each:g}" for each in _EPSILONS]
    text = [
        f"| task | map | {' | '.join(heads)} | likeliest label |",
        "|---" * (3 + len(heads)) + "|",
    ]
    for task, name in dict.fromkeys((line["task"], line["map"]) for line in lines):
        own = [line for line in lines if (line["task"], line["map"]) == (task, name)]
        cells = [_cell([line["right"][str(each)] for line in own]) for each in _EPSILONS]
        common = f"{np.mean([line['likeliest label'] for line in own]):.2f}"
        text.append(f"| {task} | {name} | {' | '.join(cells)} | {common} |")
    return "\n".join(text) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean, half = spread(values)
    return f"{mean:.2f}" + ("" if half is None or np.isnan(half) else f" ± {half:.2f}")


if __name__ == "__main__":
    main()
