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
"""How far below zero rounding can push a loss in single precision."""


class MetricInput(DataError):
    """Values from which a metric cannot be computed."""

    code = "metric-input"


class UnknownMetric(ConfigError):
    """A name that is not the name of a metric."""

    code = "unknown-metric"


def mean(items: Floats) -> Floats:
    """Return the mean over the last axis."""
    return np.asarray(items.mean(axis=-1))


def mean_nearness(ratios: Floats) -> Floats:
    """Return mean min(R, 1/R): 1 when wrong and right answers are equally likely (forget sets)."""
    return mean(np.where(ratios <= 1, ratios, 1 / np.maximum(ratios, 1)))


def mean_advantage(ratios: Floats) -> Floats:
    """Return mean max(0, 1 - R): 1 when the right answer is infinitely likelier (other sets)."""
    return mean(np.maximum(0, 1 - ratios))


def mean_share(ratios: Floats) -> Floats:
    """Return mean 1/(1 + R), which is right / (right + wrong)."""
    return mean(1 / (1 + ratios))


AGGREGATES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "mean": mean,
        "mean_nearness": mean_nearness,
        "mean_advantage": mean_advantage,
        "mean_share": mean_share,
    }
)
"""Functions from items along the last axis to one figure, by the name that a Measured has."""


@dataclass(frozen=True)
class Measured:
    """One metric of one model.

    Attributes:
        metric: The name of the metric.
        value: The figure.
        items: The value of each question, in the order of the questions.
        aggregate: The key in AGGREGATES of the function that makes `value` of `items`, or None
            where the value does not follow from the items alone.
        details: Figures to report beside the value.
    """

    metric: str
    value: float
    items: tuple[float, ...]
    aggregate: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; every number is finite."""
        return {**asdict(self), "items": list(self.items)}


def of_items(metric: str, items: Floats, aggregate: str = "mean", **details: Any) -> Measured:
    """Return a Measured whose value is the aggregate of its items."""
    value = float(AGGREGATES[aggregate](items))
    return Measured(metric, value, tuple(items.tolist()), aggregate, details)


def vector(name: str, values: ArrayLike) -> Floats:
    """Return `values` as a float64 array of shape (items,).

    Args:
        name: The name of the values in error messages.
        values: One number for each item.

    Raises:
        MetricInput: There are no values, they are not numbers in one row, or one is not finite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricInput(f"{name}: expected one number for each item: {error}") from error
    if array.ndim != 1:
        raise MetricInput(
            f"{name}: expected one number for each item, got an array of shape {array.shape}."
        )
    if not array.size:
        raise MetricInput(f"{name}: there are no items, so the metric is not defined.")
    broken = np.flatnonzero(~np.isfinite(array))
    if broken.size:
        raise MetricInput(
            f"{name}: item {broken[0]} is {array[broken[0]]}, and {broken.size} of {array.size} "
            "items are not finite. The model has diverged, or its log is damaged."
        )
    return array


def losses(name: str, values: ArrayLike) -> Floats:
    """Return `values` as a vector of negative log-likelihoods in nats.

    Raises:
        MetricInput: The values are not a vector, or one is below zero.
    """
    array = vector(name, values)
    if array.min() < -_ROUNDING:
        index = int(array.argmin())
        raise MetricInput(
            f"{name}: item {index} is {array[index]}, which is a probability above one. Pass "
            "negative log-likelihoods, not log-likelihoods."
        )
    return np.maximum(array, 0)


def shares(name: str, values: ArrayLike) -> Floats:
    """Return `values` as a vector of numbers from 0 to 1.

    Raises:
        MetricInput: The values are not a vector, or one is outside 0..1.
    """
    array = vector(name, values)
    outside = np.flatnonzero((array < 0) | (array > 1))
    if outside.size:
        raise MetricInput(f"{name}: item {outside[0]} is {array[outside[0]]}, not from 0 to 1.")
    return array


def loss_rows(name: str, rows: Sequence[ArrayLike]) -> list[Floats]:
    """Return a vector of losses for each item; items may have different numbers of losses.

    Raises:
        MetricInput: There are no items, or a row is not a vector of losses.
    """
    if not len(rows):
        raise MetricInput(f"{name}: there are no items, so the metric is not defined.")
    return [losses(f"{name}, item {index}", row) for index, row in enumerate(rows)]


def same_length(**counts: int) -> None:
    """Check that the named counts are equal.

    Raises:
        MetricInput: They differ.
    """
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise MetricInput(f"Every item needs one value of each kind, but {listed}.")
