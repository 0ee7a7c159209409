"""Measure what sums of statistics learn and cost: python -m benchmarks.learning.sums

Each organization sums over its own rows, once. The head of all sums is compared with what one
organization has alone and with all rows in one place, for several feature maps and both rules of
the ridge. Then each organization is removed in turn, and five rows of one person, and the bytes are
compared with those of a run without them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.conditions import clock, conditions
from benchmarks.learning.feature_maps import MAPS, Maps
from benchmarks.learning.sums_table import page
from benchmarks.learning.tasks import TASKS, TaskSet
from rescind.core import encode
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.training.heads import Head, check_head, solve
from rescind.training.ridges import RidgeRule, agreed_ridge, trace_ridge

RESULTS = Path(__file__).parent / "sums.jsonl"
_TASKS = ("banking77 Dirichlet 0.1", "banking77 Dirichlet 0.5", "pubmedqa")
_RULES: tuple[RidgeRule, ...] = ("trace", "gcv")
_ORGANIZATIONS = 4
_PERSON_ROWS = 5
_MAX_ROWS = 10_000
_TIMED_ROWS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--base", default="smollm2", help="the base model of the hidden states")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=_TASKS)
    parser.add_argument("--features", action="append", choices=list(MAPS))
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, for hidden states")
    parser.add_argument("--ridge", action="append", choices=_RULES)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "rescind-features" / "rows.sqlite",
        help="where rows of hidden features are kept between runs",
    )
    parser.add_argument("--peers", action="store_true", help="logistic regression beside the head")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    maps = Maps(options.base, options.data, options.cache)
    settings = conditions(("numpy", "scipy", "scikit-learn", "torch", "transformers"))
    held = _lines(options.results)
    cells: list[dict[str, Any]] = [
        {"task": task, "seed": seed, "features": name, "ridge": rule}
        | {"base": "-" if name == "n-grams" else options.base}
        for task in options.task or _TASKS
        for seed in options.seed or (0, 1, 2)
        for name in options.features or MAPS
        for rule in options.ridge or _RULES
    ]
    missing = [cell for cell in cells if not any(line.items() >= cell.items() for line in held)]
    for (task, seed, name), rules in groupby(missing, itemgetter("task", "seed", "features")):
        measured = _Measured(TASKS[task](options.data, _ORGANIZATIONS, seed), maps, name)
        for cell in rules:
            line = {**cell, **measured.line(cell["ridge"], peers=options.peers)}
            held.append(line)
            with options.results.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps({**line, "conditions": settings}) + "\n")
    sys.stdout.write(page(held))


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the cells that were measured before; a run goes on where it was."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True)
class _Part:
    """Rows of features with their labels."""

    rows: NDArray[np.int64]
    labels: Sequence[str]

    def of(self, classes: Classes) -> RowStatistics:
        return classes.collect(self.labels, self.labels, self.rows)

    def __getitem__(self, place: slice) -> _Part:
        return _Part(self.rows[place], self.labels[place])


class _Measured:
    """One task with one feature map; rows are computed once for both rules."""

    def __init__(self, tasks: TaskSet, maps: Maps, name: str) -> None:
        features = MAPS[name](maps)
        examples = {owner: rows for owner, rows in tasks.train.items() if rows}
        labels = sorted({row.answer for rows in examples.values() for row in rows})
        self.classes = Classes(features=features, labels=tuple(labels), max_rows=_MAX_ROWS)
        self.held = {
            owner: _Part(
                maps.rows(features, [row.question for row in rows]), [row.answer for row in rows]
            )
            for owner, rows in examples.items()
        }
        asked = [row.question for row in tasks.test["all"]]
        self.test = maps.rows(features, asked)
        self.wanted = [row.answer for row in tasks.test["all"]]
        _, seconds = _timed(lambda: maps.fresh(features, asked[:_TIMED_ROWS]))
        self.row_seconds = seconds / _TIMED_ROWS

    def line(self, rule: RidgeRule, *, peers: bool) -> dict[str, Any]:
        """Return the shares of test questions that get their label, and what everything cost."""
        parts, collecting = _timed(
            lambda: {owner: part.of(self.classes) for owner, part in self.held.items()}
        )
        _, checking = _timed(lambda: _check(parts.values(), self.classes))
        together = RowStatistics.sum(parts.values())
        ridge, choosing = _timed(lambda: agreed_ridge(together, rule))
        head, solving = _timed(lambda: solve(together, ridge=ridge))
        _, verifying = _timed(lambda: check_head(together, head, ridge=ridge))
        central = self._every.of(self.classes)
        as_central = encode(central.tensors()) == encode(together.tensors())
        removed = [self._removal(parts, together, name, rule) for name in parts]
        person = self._person(together, rule)
        return {
            "alone": float(np.mean([self._alone(part, rule) for part in parts.values()])),
            "together": self._right(head.scores(self.test), together),
            "after a removal": float(np.mean([right for right, _, _ in removed])),
            "same as in one place": as_central,
            "same as without": all(same for _, same, _ in removed) and person[0],
            **(self._peers(central, rule) if peers else {}),
            "times trace": ridge / trace_ridge(together),
            "n": len(self.wanted),
            "rows": together.rows,
            "dimensions": together.dimensions,
            "bytes": len(encode(together.tensors())),
            "seconds": {
                "a row": self.row_seconds,
                "collect": collecting / len(parts),
                "check": checking / len(parts),
                "ridge": choosing,
                "solve": solving,
                "verify": verifying,
                "remove": float(np.mean([seconds for _, _, seconds in removed])),
                "remove a person": person[1],
            },
        }

    @property
    def _every(self) -> _Part:
        return _Part(
            np.vstack([part.rows for part in self.held.values()]),
            [label for part in self.held.values() for label in part.labels],
        )

    def _alone(self, statistics: RowStatistics, rule: RidgeRule) -> float:
        """Return what an organization gets right by itself; floats, which are faster, show it, too."""
        return self._right(self.test @ _in_floats(statistics, rule), statistics)

    def _right(self, scores: NDArray[Any], statistics: RowStatistics) -> float:
        known = np.where(statistics.counts > 0, scores, -np.inf)
        chosen = [self.classes.labels[place] for place in known.argmax(axis=1)]
        return _share(chosen, self.wanted)

    def _removal(
        self,
        parts: Mapping[str, RowStatistics],
        together: RowStatistics,
        name: str,
        rule: RidgeRule,
    ) -> tuple[float, bool, float]:
        """Remove an organization; return what is right then, whether it is as without, and seconds.

        Heads are functions of the sums, so equal bytes of the sums are equal bytes of the heads.
        """
        (rest, head), seconds = _timed(lambda: _without(together, parts[name], rule))
        never = RowStatistics.sum([part for other, part in parts.items() if other != name])
        same = encode(rest.tensors()) == encode(never.tensors())
        return self._right(head.scores(self.test), rest), same, seconds

    def _person(self, together: RowStatistics, rule: RidgeRule) -> tuple[bool, float]:
        """Remove a person's rows; return whether the sums are those of a run without, and seconds."""
        first, *others = self.held.values()
        own = first[:_PERSON_ROWS]
        (rest, _), seconds = _timed(lambda: _without(together, own.of(self.classes), rule))
        left = [first[_PERSON_ROWS:], *others]
        never = RowStatistics.sum(part.of(self.classes) for part in left if part.labels)
        return encode(rest.tensors()) == encode(never.tensors()), seconds

    def _peers(self, central: RowStatistics, rule: RidgeRule) -> dict[str, float]:
        """Return what others make of the same features with all rows in one place, in floats."""
        by_ridge = self._alone(central, rule)
        model = LogisticRegression(max_iter=500)
        model.fit(self._every.rows, self._every.labels)
        return {
            "ridge in floats": by_ridge,
            "logistic regression": float(model.score(self.test, self.wanted)),
        }


def _check(parts: Iterable[RowStatistics], classes: Classes) -> None:
    for part in parts:
        check(part, classes)


def _without(
    together: RowStatistics, part: RowStatistics, rule: RidgeRule
) -> tuple[RowStatistics, Head]:
    rest = together.without(part)
    return rest, solve(rest, ridge=agreed_ridge(rest, rule))


def _in_floats(statistics: RowStatistics, rule: RidgeRule) -> NDArray[np.float64]:
    matrix = statistics.full_gram().astype(np.float64)
    matrix += agreed_ridge(statistics, rule) * np.eye(statistics.dimensions)
    weights: NDArray[np.float64] = scipy.linalg.solve(matrix, statistics.moments, assume_a="pos")
    return weights


def _share(chosen: Sequence[str], wanted: Sequence[str]) -> float:
    return float(np.mean([one == other for one, other in zip(chosen, wanted, strict=True)]))


def _timed(call: Any) -> tuple[Any, float]:
    began = clock()
    result = call()
    return result, clock() - began


if __name__ == "__main__":
    main()
