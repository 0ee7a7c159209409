"""The interface of learners and baselines, in the game and in a live node.

A learner decides for `games` x `seats` organizations at once. Each organization learns separately.
A live node is one game with one seat.
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

# Places of FEATURES on the last axis of an array of features.
(
    N_MEMBERS,
    N_PARTICIPANTS,
    N_SHARE,
    N_QUALITY,
    N_PRICE,
    N_AVAILABLE,
    N_SPENT,
    N_POSTED,
) = range(len(FEATURES))

# A word of every learner's key; any constant will do, but changing it changes all results.
_LEARNER_DRAWS = 7


@dataclass(frozen=True)
class Seating:
    """The seats of a learner.

    Attributes:
        seeds: Seed of each game, uint64 (games,).
        seats: How many organizations of each game it decides for.
        open_actions: Size of the set of actions that it may choose from.
        first: Its first organization.
    """

    seeds: NDArray[np.uint64]
    seats: int
    open_actions: int
    first: int = 0

    def keys(self, purpose: int) -> NDArray[np.uint64]:
        """Return a random key for each game and seat, uint64 (games * seats,).

        Args:
            purpose: Number of the stream of random numbers. Each use needs its own.
        """
        keys: NDArray[np.uint64] = _keys(self.seeds, self.seats, self.first, purpose)
        return keys


class Learner(Protocol):
    """A policy for organizations, which may learn from rounds.

    Attributes:
        name: Its name in configurations.
    """

    name: str

    def start(self, seating: Seating) -> None:
        """Reset all learned state and attach to the given seats."""
        ...

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        """Return an action for each seat; the same arguments give the same actions until `learn`.

        Args:
            features: What each seat sees, float64 (games, seats, FEATURES).
            round_: Number of the round, which continues over episodes.
            explore: Whether actions other than the best may be tried.

        Returns:
            Indices into the set of open actions, int8 (games, seats).
        """
        ...

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        """Learn from one round, after `choose` was called for the same `round_`."""
        ...

    def state(self, seat: int = 0) -> dict[str, Any]:
        """Return what was learned on one seat, as JSON-compatible values.

        Args:
            seat: Index into the flattened (games x seats) array.
        """
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Give every seat the state of one.

        Raises:
            KeyError, TypeError, ValueError: `state` is not one that `state()` returns.
        """
        ...

    def values(self, features: Floats) -> Floats:
        """Return the expected value of each open action, in ether.

        Returns:
            float64 (games, seats, open actions); the last axis is empty for learners without
            values.
        """
        ...


class Memoryless:
    """Base of learners that learn nothing."""

    _seating: Seating

    def start(self, seating: Seating) -> None:
        self._seating = seating

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        """Do nothing."""

    def state(self, seat: int = 0) -> dict[str, Any]:  # noqa: ARG002
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        if state:
            raise ValueError(
                f"state holds {', '.join(state)}, but this policy does not learn. Empty the state"
            )

    def values(self, features: Floats) -> Floats:
        return np.empty((*features.shape[:2], 0))


@njit(cache=True)
def _keys(seeds: Any, seats: int, first: int, purpose: int) -> Any:
    # Mixed from the organization's own number, so a seat draws the same whichever seats are beside.
    keys = np.empty(seeds.size * seats, dtype=np.uint64)
    for g in range(seeds.size):
        start = mix(mix(np.uint64(purpose), seeds[g]), _LEARNER_DRAWS)
        for i in range(seats):
            keys[g * seats + i] = mix(start, first + i)
    return keys
