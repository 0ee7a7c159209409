"""Measure what sums of statistics learn and cost: python -m benchmarks.learning.sums

Each organization sums over its own rows, once. The head of all sums is compared with what one
organization has alone and with all rows in one place: by the same head, by ridge in floats and by
logistic regression on the same features. Then each organization is removed in turn, and five rows
of one person, and the bytes are compared with those of a run without them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.conditions import clock, conditions
from benchmarks.forgetting.table import spread
from benchmarks.learning.tasks import TASKS, TaskSet
from rescind.core import encode
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.training.heads import Head, check_head, solve, trace_ridge

RESULTS = Path(__file__).parent / "sums.jsonl"
_TASKS = ("banking77 Dirichlet 0.1", "banking77 Dirichlet 0.5", "pubmedqa")
_ORGANIZATIONS = 4
_PERSON_ROWS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=_TASKS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    lines = [
        {"task": task, "seed": seed, **measure(TASKS[task](options.data, _ORGANIZATIONS, seed))}
        for task in options.task or _TASKS
        for seed in options.seed or (0, 1, 2)
    ]
    settings = conditions(("numpy", "scipy", "scikit-learn"))
    text = "".join(json.dumps({**line, "conditions": settings}) + "\n" for line in lines)
    options.results.write_text(text, encoding="utf-8")
    sys.stdout.write(page(lines))


def measure(tasks: TaskSet) -> dict[str, Any]:
    """Return the shares of test questions that get their label, and what everything cost."""
    held = {name: rows for name, rows in tasks.train.items() if rows}
    every = [row for rows in held.values() for row in rows]
    classes = Classes(labels=tuple(sorted({row.answer for row in every})))
    test = classes.features.of([row.question for row in tasks.test["all"]])
    wanted = [row.answer for row in tasks.test["all"]]

    def right(head: Head, statistics: RowStatistics) -> float:
        scores = np.where(statistics.counts > 0, head.scores(test), -(2**62))
        chosen = [classes.labels[place] for place in scores.argmax(axis=1)]
        return float(np.mean([one == other for one, other in zip(chosen, wanted, strict=True)]))

    began = clock()
    parts = {name: _collected(classes, rows) for name, rows in held.items()}
    collecting = clock() - began
    began = clock()
    for part in parts.values():
        check(part, classes)
    checking = clock() - began
    together = RowStatistics.sum(parts.values())
    began = clock()
    head = solve(together)
    solving = clock() - began
    began = clock()
    check_head(together, head)
    verifying = clock() - began
    central = _collected(classes, every)
    removals = [_removal(parts, together, name) for name in parts]
    person = _person(classes, held, together)
    return {
        "alone": float(np.mean([right(solve(part), part) for part in parts.values()])),
        "together": right(head, together),
        "in one place": right(solve(central), central),
        **_peers(classes, central, every, test, wanted),
        "after a removal": float(np.mean([right(own, rest) for own, rest, _, _ in removals])),
        "same as without": all(same for _, _, same, _ in removals) and person[0],
        "n": len(wanted),
        "rows": len(every),
        "bytes": len(encode(together.tensors())),
        "seconds": {
            "collect": collecting / len(parts),
            "check": checking / len(parts),
            "solve": solving,
            "verify": verifying,
            "remove": float(np.mean([seconds for _, _, _, seconds in removals])),
            "remove a person": person[1],
        },
    }


def _removal(
    parts: Mapping[str, RowStatistics], together: RowStatistics, name: str
) -> tuple[Head, RowStatistics, bool, float]:
    """Return the head without an organization, its sums, whether it is that of a run without, seconds."""
    began = clock()
    rest = together.without(parts[name])
    head = solve(rest)
    seconds = clock() - began
    never = RowStatistics.sum([part for other, part in parts.items() if other != name])
    same = encode(rest.tensors()) == encode(never.tensors())
    same = same and head.weights.tobytes() == solve(never).weights.tobytes()
    return head, rest, same, seconds


def _person(
    classes: Classes, held: Mapping[str, Sequence[Any]], together: RowStatistics
) -> tuple[bool, float]:
    """Remove somebody's rows; return whether the head is that of a run without them, and seconds."""
    first, *others = held.values()
    own = first[:_PERSON_ROWS]
    began = clock()
    rest = together.without(_collected(classes, own))
    head = solve(rest)
    seconds = clock() - began
    never = RowStatistics.sum(
        _collected(classes, rows) for rows in [first[_PERSON_ROWS:], *others] if rows
    )
    same = encode(rest.tensors()) == encode(never.tensors())
    return same and head.weights.tobytes() == solve(never).weights.tobytes(), seconds


def _collected(classes: Classes, rows: Sequence[Any]) -> RowStatistics:
    return classes.collect([row.question for row in rows], [row.answer for row in rows])


def _peers(
    classes: Classes,
    central: RowStatistics,
    every: Sequence[Any],
    test: NDArray[np.int64],
    wanted: Sequence[str],
) -> dict[str, float]:
    """Return what others make of the same features with all rows in one place, in floats."""
    ridge = trace_ridge(central) * np.eye(central.dimensions)
    weights = scipy.linalg.solve(central.full_gram() + ridge, central.moments, assume_a="pos")
    by_ridge = [classes.labels[place] for place in (test @ weights).argmax(axis=1)]
    model = LogisticRegression(max_iter=500)
    model.fit(classes.features.of([row.question for row in every]), [row.answer for row in every])
    return {
        "ridge in floats": float(np.mean([a == b for a, b in zip(by_ridge, wanted, strict=True)])),
        "logistic regression": float(model.score(test, wanted)),
    }


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the two tables: what is right, and what it costs."""
    columns = ("alone", "together", "after a removal", "ridge in floats", "logistic regression")
    rows = [f"| task | {' | '.join(columns)} | same bytes as without |", "|---" * 7 + "|"]
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [line for line in lines if line["task"] == task]
        cells = [_cell([line[column] for line in own]) for column in columns]
        same = sum(line["same as without"] for line in own)
        rows.append(f"| {task} | {' | '.join(cells)} | {same} of {len(own)} |")
    costs = ("collect", "check", "solve", "verify", "remove", "remove a person")
    rows += ["", f"| task | MB | {' | '.join(f'{name}, s' for name in costs)} |", "|---" * 8 + "|"]
    for task in dict.fromkeys(line["task"] for line in lines):
        own = [line for line in lines if line["task"] == task]
        size = f"{own[0]['bytes'] / 1e6:.1f}"
        cells = [f"{np.mean([line['seconds'][name] for line in own]):.2f}" for name in costs]
        rows.append(f"| {task} | {size} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean, half = spread(values)
    return f"{mean:.3f}" + ("" if half is None or math.isnan(half) else f" ± {half:.3f}")


if __name__ == "__main__":
    main()
