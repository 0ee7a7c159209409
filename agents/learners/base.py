"""The one interface of all that decides: learners and baselines, in the game and in a live node.

A learner decides for `games` x `seats` organizations at once, each with what it has learned itself; a
live node is one game of one seat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rescind.agents.counter_random import mix
from rescind.agents.interface import FEATURES

Floats = NDArray[np.float64]
Actions = NDArray[np.int8]

N_MEMBERS, N_PARTICIPANTS, N_SHARE, N_QUALITY, N_PRICE, N_AVAILABLE, N_SPENT = range(len(FEATURES))


@dataclass(frozen=True)
class Place:
    """Where a learner sits. `seeds`: uint64 (games,); `first`: its first seat among the game's
    organizations; `open_actions`: how many of ACTIONS it may choose from."""

    seeds: NDArray[np.uint64]
    seats: int
    open_actions: int
    first: int = 0

    def keys(self, purpose: int) -> NDArray[np.uint64]:
        """One for each game and seat, uint64 (games * seats,)."""
        keys: NDArray[np.uint64] = _keys(self.seeds, self.seats, self.first, purpose)
        return keys


class Learner(Protocol):
    """`name` is the one in configurations."""

    name: str

    def start(self, place: Place) -> None:
        """Forget everything and sit down."""
        ...

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        """`features`: float64 (games, seats, FEATURES). Places in ACTIONS, int8 (games, seats). The same
        arguments give the same actions until something is learned. `round_` counts on over episodes."""
        ...

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        """From one round that came after `choose` of the same `round_`."""
        ...

    def state(self, seat: int = 0) -> dict[str, Any]:
        """What was learned on one of games * seats, counted through, as JSON can hold it."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Give every seat what one of them had learned. Raises KeyError, TypeError or ValueError for what `state` cannot have given."""
        ...

    def values(self, features: Floats) -> Floats:
        """What each open action is expected to bring, float64 (games, seats, open actions), in ether;
        the last axis is empty where nothing is expected."""
        ...


class Memoryless:
    """What learners that learn nothing share."""

    _place: Place

    def start(self, place: Place) -> None:
        self._place = place

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        """Nothing is learned."""

    def state(self, seat: int = 0) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        if state:
            raise ValueError(f"a policy that learns nothing holds {', '.join(state)}")

    def values(self, features: Floats) -> Floats:
        return np.empty((*features.shape[:2], 0))


@njit(cache=True)
def _keys(seeds: Any, seats: int, first: int, purpose: int) -> Any:
    keys = np.empty(seeds.size * seats, dtype=np.uint64)
    for g in range(seeds.size):
        start = mix(mix(np.uint64(purpose), seeds[g]), 7)
        for i in range(seats):
            keys[g * seats + i] = mix(start, first + i)
    return keys
