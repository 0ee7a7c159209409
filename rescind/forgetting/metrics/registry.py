"""Facts about a metric besides its function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rescind.forgetting.metrics.values import Measured


@dataclass(frozen=True)
class Metric:
    """`compute` takes what `needs` names, by keyword. `low`, `high`: its range, None where it has no
    bound. `higher`: what a higher value means. `ideal`: the value to wish for. `source`: where the
    definition comes from."""

    name: str
    compute: Callable[..., Measured]
    needs: tuple[str, ...]
    low: float | None
    high: float | None
    higher: str
    ideal: str
    source: str
