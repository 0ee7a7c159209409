"""Baselines that look at nothing: always, never, random."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rescind.agents.counter_random import mix, uniform
from rescind.agents.interface import FULL
from rescind.agents.learners.base import Actions, Floats, Memoryless
from rescind.agents.learners.registry import register


class Constant(Memoryless):
    """One action always."""

    def __init__(self, name: str, action: int) -> None:
        self.name, self.action = name, action

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        return np.full(features.shape[:2], self.action, dtype=np.int8)


@register("always")
def always() -> Constant:
    return Constant("always", FULL)


@register("never")
def never() -> Constant:
    return Constant("never", 0)


@register("random")
class Random(Memoryless):
    """Every open action with the same chance, drawn again in each round."""

    name = "random"

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        many = self._place.open_actions
        drawn: Actions = _drawn(self._place.keys(11), round_, many)
        return drawn.reshape(features.shape[:2])


@njit(cache=True, nogil=True)
def _drawn(keys: Any, round_: int, many: int) -> Any:
    out = np.empty(keys.size, dtype=np.int8)
    for m in range(keys.size):
        out[m] = int(uniform(mix(keys[m], round_)) * many)
    return out
