"""The cost of statistics on this machine: their size, the time of each step, the memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import HIDING_SHAPE, commit, digest, encode
from rescind.core.features import feature_rows
from rescind.core.router_statistics import ROUTER
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import contributed_tensors, solvable_statistics
from rescind.training import LoraModel
from rescind.training.features import HiddenRows
from rescind.training.heads import solve
from rescind.training.ridges import agreed_ridge
from rescind.training.router_head import solve_router

_ROWS = 200
"""Made-up rows. What sums and heads take depends on features and labels, and hardly on rows."""
_WORDS = (
    "account balance bill bridge card charge city code desk fee form garden harbour key letter limit "
    "line loan market month name office order page paper payment plan price question record rent "
    "ring river road room safe season sign station stone street table tax ticket train tree tutor "
    "village wage wall water window winter word year"
).split()


@dataclass(frozen=True)
class TaskCost:
    """The cost of the statistics of a task, or of the router, on this machine. All times are seconds.

    Attributes:
        name: The task's name, or that of the router.
        features: The number of features.
        labels: The number of labels; of the router, of members.
        row: To compute the features of one row, once: a node.
        sums: To sum over the measured rows: a node, in each round.
        check: To check one organization's sums: the aggregator.
        head: To solve the head or the router: everyone who serves a new model, or verifies it.
    """

    name: str
    features: int
    labels: int
    row: float
    sums: float
    check: float
    head: float

    def sentence(self) -> str:
        """Say it in one line."""
        return (
            f"{self.features:,} features, {self.labels:,} {'members' if self.is_router else 'labels'}"
            f"; {1000 * self.row:.2g} ms for a row's features, {self.sums:.2g} s to sum {_ROWS} rows, "
            f"{self.check:.2g} s to check an organization's sums, {self.head:.2g} s to solve the "
            f"{'router' if self.is_router else 'head'}"
        )

    @property
    def is_router(self) -> bool:
        """True for the router's sums."""
        return self.name == ROUTER


@dataclass(frozen=True)
class StatisticsCost:
    """The cost of agreed statistics on this machine.

    Attributes:
        bytes: Of the artifact that an organization contributes.
        noise_bytes: Of it that move where its rows did not change.
        summed_bytes: Of the sums in an adapter, whatever the number of organizations.
        register: Seconds to encode, digest and commit to an organization's artifact.
        memory: The most bytes that summing, checking or solving takes at a time, beside the base
            model.
        tasks: Each task and the router.
    """

    bytes: int
    noise_bytes: int
    summed_bytes: int
    register: float
    memory: int
    tasks: tuple[TaskCost, ...]

    def lines(self, size: Callable[[int], str]) -> Iterator[tuple[str, str]]:
        """Yield name and text of each line of a report; `size` writes bytes."""
        yield (
            "statistics",
            f"{size(self.bytes)} of an organization, of which {size(self.noise_bytes)} move in a round "
            f"where its rows did not change; {size(self.summed_bytes)} of the adapter, for any number of "
            f"organizations; {self.register:.2g} s to register",
        )
        for task in self.tasks:
            name = "router" if task.is_router else f"task {task.name}"
            yield name, task.sentence()
        yield "", f"at most {size(self.memory)} of memory to sum, check and solve"


def measure_statistics(model: LoraModel, agreed: StatisticsParameters) -> StatisticsCost:
    """Make statistics of made-up rows, check them and solve from them, as a run would.

    Args:
        model: The base model, for features that are made of its hidden states.
        agreed: What the members agreed on.

    Raises:
        TrainingError: A feature map asks for layers or a width that the base model does not have.
    """
    # Adapters would change the base model's hidden states.
    model.use(None)
    hidden = HiddenRows(model.base)
    costs, made = [], {}
    for name, classes in agreed.summed.items():
        texts = _texts(min(_ROWS, classes.max_rows))
        seconds, rows = _timed(lambda: feature_rows(classes.features, texts, hidden))  # noqa: B023
        cost, made[name] = _measured(name, classes, agreed, rows, seconds / len(texts))
        costs.append(cost)
    tensors = contributed_tensors(agreed, made)
    register, data = _timed(lambda: (commit(digest(tensors)), encode(tensors))[1])
    itemsize = 4 if agreed.dtype == "I32" else 8
    return StatisticsCost(
        bytes=len(data),
        noise_bytes=itemsize * HIDING_SHAPE[0] * HIDING_SHAPE[1],
        summed_bytes=len(data) * 8 // itemsize,
        register=register,
        memory=max(_memory(name, agreed, made[name]) for name in made),
        tasks=tuple(costs),
    )


def _measured(
    name: str,
    classes: Classes,
    agreed: StatisticsParameters,
    rows: NDArray[np.int64],
    row_seconds: float,
) -> tuple[TaskCost, RowStatistics]:
    labels = [classes.labels[place % _labels(name, classes)] for place in range(len(rows))]
    sums, made = _timed(lambda: classes.collect([""] * len(rows), labels, rows))
    checked, _ = _timed(lambda: check(made, classes, agreed.tolerance(name)))
    solved, _ = _timed(lambda: _solve(name, agreed, made))
    cost = TaskCost(
        name, classes.features.dimensions, len(classes.labels), row_seconds, sums, checked, solved
    )
    return cost, made


def _labels(name: str, classes: Classes) -> int:
    """Return how many labels the made-up rows have; an organization is one member of a router."""
    return 1 if name == ROUTER else len(classes.labels)


def _solve(name: str, agreed: StatisticsParameters, made: RowStatistics) -> None:
    tensors = contributed_tensors(agreed, {name: made})
    bare = {full.partition("/")[2]: value for full, value in tensors.items()}
    sums = solvable_statistics(agreed, bare, 1)[name]
    if name == ROUTER and agreed.router is not None:
        solve_router(agreed.router, sums, _reference(made.dimensions), [0])
        return
    solve(sums, ridge=agreed_ridge(sums, agreed.ridge))


def _reference(dimensions: int) -> NDArray[np.int64]:
    """Return rows that stand for a public reference, which is not at hand here."""
    rows = np.zeros((_ROWS, dimensions), dtype=np.int64)
    rows[:, 0] = 1
    rows[np.arange(_ROWS), 1 + np.arange(_ROWS) % (dimensions - 1)] = 1
    return rows


def _memory(name: str, agreed: StatisticsParameters, made: RowStatistics) -> int:
    """Return the most bytes that checking and solving take; numpy reports its own to tracemalloc."""
    classes = agreed.summed[name]
    tracemalloc.start()
    try:
        check(made, classes, agreed.tolerance(name))
        _solve(name, agreed, made)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _texts(count: int) -> list[str]:
    """Return different texts of ten words."""
    dice = np.random.default_rng(0)
    return [" ".join(dice.choice(_WORDS, 10)) for _ in range(count)]


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = act()
    return time.perf_counter() - began, result
