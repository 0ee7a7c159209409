"""Measure summed ranks of one linear layer: python -m benchmarks.learning.one_layer

A classifier without a language model shows the merge alone. Its features u = A x are a frozen random
projection of hashed n-grams; each organization trains B alone, from zero, by Adam on all its rows.
Then B is merged: by the mean, by summed ranks, and, for comparison, solved from sums of labels in the
same features, which needs no training. `together` trains B on all rows in one place.

One JSON line for each task, rank and seed; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import clock, conditions
from benchmarks.forgetting.table import spread
from benchmarks.learning.tasks import TASKS, TaskSet, public_pairs
from rescind.core import encode, initial
from rescind.core.ngrams import NgramFeatures
from rescind.core.summed_ranks import RankStatistics, SummedRanks, check
from rescind.training.summed_ranks import merge

RESULTS = Path(__file__).parent / "one_layer.jsonl"
RANKS = (16, 64, 256)
_TASKS = ("banking77 Dirichlet 0.1", "banking77 Dirichlet 0.5", "pubmedqa")
_ORGANIZATIONS = 4
_STEPS, _RATE = 300, 0.05
_LAYER = "layer"
COLUMNS = (
    "alone",
    "mean of B",
    "summed ranks",
    "summed ranks, public",
    "sums of labels",
    "together",
)

Floats = NDArray[np.float32]
Rows = Mapping[str, tuple[Floats, NDArray[np.int64]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=_TASKS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    known = list(_lines(options.results))
    for task in options.task or _TASKS:
        for seed in options.seed or (0, 1, 2):
            ranks = [
                rank
                for rank in RANKS
                if not any(
                    (line["task"], line["seed"], line["rank"]) == (task, seed, rank)
                    for line in known
                )
            ]
            if ranks:
                tasks = TASKS[task](options.data, _ORGANIZATIONS, seed)
                _append(options.results, task, seed, tasks, public_pairs(options.data, seed), ranks)
    sys.stdout.write(page(list(_lines(options.results))))


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _append(
    path: Path,
    task: str,
    seed: int,
    tasks: TaskSet,
    public: Sequence[Any],
    ranks: Sequence[int],
) -> None:
    features = NgramFeatures()
    labels = sorted({row.answer for rows in tasks.train.values() for row in rows})
    places = {label: place for place, label in enumerate(labels)}

    def read(rows: Sequence[Any]) -> tuple[Floats, NDArray[np.int64]]:
        x = features.of([row.question for row in rows]).astype(np.float32)
        return x, np.array([places.get(row.answer, -1) for row in rows])

    held = {name: read(rows) for name, rows in tasks.train.items()}
    test, nobodys = read(tasks.test["all"]), read(public)[0]
    for rank in ranks:
        line = {"task": task, "seed": seed, "rank": rank, "n": len(test[1])}
        figures = measure(held, test, nobodys, len(labels), rank, seed)
        settings = conditions(("numpy", "scipy"))
        with path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({**line, **figures, "conditions": settings}) + "\n")


def measure(
    held: Rows,
    test: tuple[Floats, NDArray[np.int64]],
    public: Floats,
    classes: int,
    rank: int,
    seed: int,
) -> dict[str, Any]:
    """Return the shares of test questions that get their label, and what the merge cost."""
    bits = 20
    a = initial(seed, "shared", f"{_LAYER}.lora_A", (rank, test[0].shape[1]), fraction_bits=bits)
    down = (a.astype(np.float32) * 2.0**-bits).T
    seen = {name: (x @ down, y) for name, (x, y) in held.items()}
    asked = test[0] @ down

    def right(factor: NDArray[Any]) -> float:
        return float(np.mean((asked @ factor.T).argmax(axis=1) == test[1]))

    alone = {name: train(u, y, classes) for name, (u, y) in seen.items()}
    agreed = SummedRanks(modules={_LAYER: (classes, rank)})
    parts = [_sums(agreed, u, alone[name]) for name, (u, _) in seen.items()]
    for part in parts:
        check(part, agreed)
    common = _sums(agreed, public @ down, None)
    whole = RankStatistics.sum(parts)
    began = clock()
    merged = _factor(whole, agreed)
    solving = clock() - began
    rest = merge(whole.without(parts[0]), agreed).integers()
    never = merge(RankStatistics.sum(parts[1:]), agreed).integers()
    every = np.concatenate([u for u, _ in seen.values()])
    wanted = np.concatenate([y for _, y in seen.values()])
    return {
        "alone": float(np.mean([right(factor) for factor in alone.values()])),
        "mean of B": right(np.mean(list(alone.values()), axis=0)),
        "summed ranks": right(merged),
        "summed ranks, public": right(_factor(whole, agreed, common)),
        "sums of labels": right(_labels(every, wanted, classes, agreed)),
        "together": right(train(every, wanted, classes)),
        "same as without": encode(rest) == encode(never),
        "seconds_of_solution": solving,
        "bytes_of_sums": len(encode(parts[0].tensors)),
    }


def train(u: Floats, y: NDArray[np.int64], classes: int) -> Floats:
    """Return B, (classes, rank), after _STEPS steps of Adam on cross-entropy, from zero."""
    b = np.zeros((classes, u.shape[1]), dtype=np.float32)
    first, second = np.zeros_like(b), np.zeros_like(b)
    for step in range(1, _STEPS + 1):
        scores = u @ b.T
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        scores[np.arange(len(y)), y] -= 1
        gradient = scores.T @ u / len(y)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scale = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        b -= np.float32(_RATE * scale) * first / (np.sqrt(second) + 1e-8)
    return b


def _sums(agreed: SummedRanks, u: Floats, factor: Floats | None) -> RankStatistics:
    rows = u.astype(np.float64)
    return agreed.collect({_LAYER: rows.T @ rows}, None if factor is None else {_LAYER: factor})


def _factor(
    whole: RankStatistics, agreed: SummedRanks, public: RankStatistics | None = None
) -> NDArray[np.float32]:
    return merge(whole, agreed, public).factors()[f"{_LAYER}.lora_B"]


def _labels(
    u: Floats, y: NDArray[np.int64], classes: int, agreed: SummedRanks
) -> NDArray[np.float64]:
    """Ridge regression of the labels on the same features with the same ridge."""
    rows, targets = u.astype(np.float64), np.eye(classes)[y]
    gram = rows.T @ rows
    ridge = np.trace(gram) / len(gram) * 2.0**-agreed.ridge_bits
    solution: NDArray[np.float64] = np.linalg.solve(
        gram + ridge * np.eye(len(gram)), rows.T @ targets
    )
    return solution.T


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table: a row for each task and rank."""
    heads = [*COLUMNS, "KB of one", "solution, s", "same bytes as without"]
    rows = [f"| task | rank | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for task in _TASKS:
        for rank in RANKS:
            own = [line for line in lines if (line["task"], line["rank"]) == (task, rank)]
            if own:
                cells = [_cell([line[column] for line in own]) for column in COLUMNS]
                size = f"{own[0]['bytes_of_sums'] / 1e3:.0f}"
                seconds = f"{np.mean([line['seconds_of_solution'] for line in own]):.2f}"
                same = f"{sum(line['same as without'] for line in own)} of {len(own)}"
                rows.append(f"| {' | '.join([task, str(rank), *cells, size, seconds, same])} |")
    return "\n".join(rows) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean, half = spread(values)
    return f"{mean:.2f}" + ("" if half is None else f" ± {half:.2f}")


if __name__ == "__main__":
    main()
