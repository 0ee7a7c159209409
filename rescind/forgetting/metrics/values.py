"""Input and result of metrics, and the aggregates that turn items into one figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rescind.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
_ROUNDING = 1e-6
"""How far below zero a loss in single precision may come out."""


class MetricInput(DataError):
    """Values that a metric cannot be computed from."""

    code = "metric-input"


class UnknownMetric(ConfigError):
    code = "unknown-metric"


def mean(items: Floats) -> Floats:
    return np.asarray(items.mean(axis=-1))


def mean_nearness(ratios: Floats) -> Floats:
    """mean min(R, 1/R): 1 when wrong and right answers are equally likely (forget sets)."""
    return mean(np.where(ratios <= 1, ratios, 1 / np.maximum(ratios, 1)))


def mean_advantage(ratios: Floats) -> Floats:
    """mean max(0, 1 - R): 1 when the right answer is infinitely likelier (all other sets)."""
    return mean(np.maximum(0, 1 - ratios))


def mean_share(ratios: Floats) -> Floats:
    """mean 1/(1 + R), which is right / (right + wrong)."""
    return mean(1 / (1 + ratios))


AGGREGATES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "mean": mean,
        "mean_nearness": mean_nearness,
        "mean_advantage": mean_advantage,
        "mean_share": mean_share,
    }
)
"""Items along the last axis to one figure, by the name that a Measured carries."""


@dataclass(frozen=True)
class Measured:
    """One metric of one model.

    `value`: the figure. `items`: what each question gave, in the order of the questions.
    `aggregate`: the key in AGGREGATES of the function that makes `value` of `items`, or None where
    the value is not a function of the items alone. `details`: what has to be told beside the value.
    """

    metric: str
    value: float
    items: tuple[float, ...]
    aggregate: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: every number is finite."""
        return {**asdict(self), "items": list(self.items)}


def of_items(metric: str, items: Floats, aggregate: str = "mean", **details: Any) -> Measured:
    """A Measured whose value is the aggregate of its items."""
    value = float(AGGREGATES[aggregate](items))
    return Measured(metric, value, tuple(items.tolist()), aggregate, details)


def vector(name: str, values: ArrayLike) -> Floats:
    """`values` as a float64 array of shape (items,). Raises MetricInput when there are none, when
    they are not numbers in one row, or when one is not finite."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricInput(f"{name}: expected one number for each item: {error}") from error
    if found.ndim != 1:
        raise MetricInput(
            f"{name}: expected one number for each item, got an array of shape {found.shape}"
        )
    if not found.size:
        raise MetricInput(f"{name}: there are no items, and a metric of nothing has no value")
    broken = np.flatnonzero(~np.isfinite(found))
    if broken.size:
        raise MetricInput(
            f"{name}: item {broken[0]} is {found[broken[0]]} and {broken.size} of {found.size} are "
            "not finite: the model has diverged, or its log is damaged"
        )
    return found


def losses(name: str, values: ArrayLike) -> Floats:
    """A vector of negative log-likelihoods in nats. Raises MetricInput for one below zero."""
    found = vector(name, values)
    if found.min() < -_ROUNDING:
        place = int(found.argmin())
        raise MetricInput(
            f"{name}: item {place} is {found[place]}, a probability above one: give negative "
            "log-likelihoods, not log-likelihoods"
        )
    return np.maximum(found, 0)


def shares(name: str, values: ArrayLike) -> Floats:
    """A vector of numbers from 0 to 1. Raises MetricInput for another."""
    found = vector(name, values)
    outside = np.flatnonzero((found < 0) | (found > 1))
    if outside.size:
        raise MetricInput(f"{name}: item {outside[0]} is {found[outside[0]]}, not from 0 to 1")
    return found


def loss_rows(name: str, rows: Sequence[ArrayLike]) -> list[Floats]:
    """For each item a vector of losses; items may have different numbers of them."""
    if not len(rows):
        raise MetricInput(f"{name}: there are no items, and a metric of nothing has no value")
    return [losses(f"{name}, item {place}", row) for place, row in enumerate(rows)]


def same_length(**counted: int) -> None:
    """Raises MetricInput when the named counts differ."""
    if len(set(counted.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counted.items())
        raise MetricInput(f"every item needs one value of each kind, but {told}")
