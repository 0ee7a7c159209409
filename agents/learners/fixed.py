"""Baselines that ignore the observation: always, never and random."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rescind.agents.counter_random import mix, uniform
from rescind.agents.interface import FULL, HAS_STATISTICS
from rescind.agents.learners.base import Actions, Floats, Memoryless
from rescind.agents.learners.registry import register

_RANDOM_ACTIONS = 11
"""Stream of the random baseline, apart from the tabular learners' (see `Seating.keys`)."""


class Constant(Memoryless):
    """The same action in every round.

    Args:
        name: Its name.
        action: Index into the set of open actions.
        posts: Take it with statistics, where they are open.
    """

    def __init__(self, name: str, action: int, *, posts: bool = False) -> None:
        self.name, self.action, self._posts = name, action, posts

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        size = self._seating.open_actions
        posting = size // 2 if self._posts and HAS_STATISTICS[size] else 0
        return np.full(features.shape[:2], self.action + posting, dtype=np.int8)


@register("always")
def always() -> Constant:
    """Return the baseline that takes part in full in every round, with statistics where open."""
    return Constant("always", FULL, posts=True)


@register("never")
def never() -> Constant:
    """Return the baseline that sits out every round."""
    return Constant("never", 0)


@register("random")
class Random(Memoryless):
    """A uniformly random open action, drawn again in each round."""

    name = "random"

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        keys = self._seating.keys(_RANDOM_ACTIONS)
        drawn: Actions = _drawn(keys, round_, self._seating.open_actions)
        return drawn.reshape(features.shape[:2])


@njit(cache=True, nogil=True)
def _drawn(keys: Any, round_: int, open_actions: int) -> Any:
    """Return an action for each key, int8 (keys,)."""
    out = np.empty(keys.size, dtype=np.int8)
    for m in range(keys.size):
        out[m] = int(uniform(mix(keys[m], round_)) * open_actions)
    return out
