"""The registry of metrics. Each metric registers itself where it is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from rescind.forgetting.metrics.values import Measured

TOFU = "TOFU, arXiv 2401.06121"
OPEN_UNLEARNING = "open-unlearning, arXiv 2506.12618"
BETTER_KNOWN = "better known"
AS_REPLAY = "forget set: the replay's; any other: 1"

Compute = TypeVar("Compute", bound=Callable[..., Measured])


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A registered metric.

    Attributes:
        name: The name of the metric, which is that of its function.
        compute: The function. It takes the values named in `needs`, by keyword.
        needs: The names of its input values.
        low: The lower bound of its range, or None if it has none.
        high: The upper bound of its range, or None if it has none.
        higher: What a higher value says about the model.
        ideal: The best value.
        source: Where the definition comes from.
    """

    name: str
    compute: Callable[..., Measured]
    needs: tuple[str, ...]
    low: float | None
    high: float | None
    higher: str
    ideal: str
    source: str


_registered: dict[str, Metric] = {}


def register_metric(
    *,
    low: float | None = None,
    high: float | None = None,
    higher: str,
    ideal: str,
    source: str,
) -> Callable[[Compute], Compute]:
    """Register the decorated function as a metric under the function's own name.

    The metric needs the function's positional parameters. Its keyword-only parameters are settings.

    Args:
        low: The lower bound of the metric's range, or None if it has none.
        high: The upper bound of the metric's range, or None if it has none.
        higher: What a higher value says about the model.
        ideal: The best value.
        source: Where the definition comes from.
    """

    def register(function: Compute) -> Compute:
        parameters = inspect.signature(function).parameters.values()
        _registered[function.__name__] = Metric(
            name=function.__name__,
            compute=function,
            needs=tuple(each.name for each in parameters if each.kind is not each.KEYWORD_ONLY),
            low=low,
            high=high,
            higher=higher,
            ideal=ideal,
            source=source,
        )
        return function

    return register


def registered(order: Sequence[str]) -> Mapping[str, Metric]:
    """Return the metrics of the modules imported so far, by name, in `order`.

    Raises:
        ValueError: A metric is not in `order`.
    """
    names = sorted(_registered, key=order.index)
    return MappingProxyType({name: _registered[name] for name in names})
