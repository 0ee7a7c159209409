"""States, prior values and exploration of the tabular learners.

The state is quality in quarters, the organization's last share of the reward against an equal one (less than half of
it, about it, more than one and a half), turnout in thirds, and whether an equal share would cover the
price of a round: 72 states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numba import njit

from rescind.agents.counter_random import mix, uniform
from rescind.agents.interface import (
    EFFORTS,
    FRACTIONS,
    FULL,
    NOISES,
)
from rescind.agents.learners.base import Actions, Floats, Place

STATES = 72
_WORK = EFFORTS * FRACTIONS / (1.0 + NOISES)


@dataclass(frozen=True)
class TabularConfig:
    """`alpha`: step size. `gamma`: discount of the next round. `epsilon`: chance to explore, which falls
    to `epsilon_end` over `explore_rounds` (0: it stays). `explore`: one action beside the best, which a
    live node can afford, or any. `quality_value`: what the prior expects knowing everything to be worth,
    in ether.
    """

    alpha: float = 0.3
    gamma: float = 0.9
    epsilon: float = 0.1
    epsilon_end: float = 0.1
    explore_rounds: int = 0
    explore: Literal["neighbour", "any"] = "neighbour"
    quality_value: float = 0.5

    def __post_init__(self) -> None:
        for name in ("alpha", "gamma", "epsilon", "epsilon_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must lie between 0 and 1")
        if self.explore not in ("neighbour", "any"):
            raise ValueError(f"explore is {self.explore!r}, but must be neighbour or any")

    def epsilon_at(self, round_: int) -> float:
        if not self.explore_rounds:
            return self.epsilon
        done = min(1.0, round_ / self.explore_rounds)
        return self.epsilon + done * (self.epsilon_end - self.epsilon)


class Tabular:
    """`table`: float32 (tables, games * seats, STATES, open actions), not a number where no state was."""

    name: str
    tables = 1

    def __init__(self, config: TabularConfig) -> None:
        self.config = config

    def start(self, place: Place) -> None:
        self._place = place
        self._keys = place.keys(3)
        many = self._keys.size
        shape = (self.tables, many, STATES, place.open_actions)
        self.table = np.full(shape, np.nan, dtype=np.float32)

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        out = np.empty(self._keys.size, dtype=np.int8)
        epsilon = self.config.epsilon_at(round_) if explore else 0.0
        any_action = self.config.explore == "any"
        _choose(
            self._flat(features),
            self.table,
            self._keys,
            round_,
            epsilon,
            any_action,
            self.config.quality_value,
            out,
        )
        return out.reshape(features.shape[:2])

    def values(self, features: Floats) -> Floats:
        rows = self._flat(features)
        fill(rows, self.table, self.config.quality_value)
        states = states_of(rows)
        found = self.table[:, np.arange(states.size), states].mean(axis=0, dtype=np.float64)
        return np.asarray(found.reshape(*features.shape[:2], -1))

    def state(self, seat: int = 0) -> dict[str, Any]:
        known = np.flatnonzero(~np.isnan(self.table[0, seat, :, 0]))
        return {"table": {str(s): self.table[:, seat, s].tolist() for s in known}}

    def restore(self, state: dict[str, Any]) -> None:
        if state.keys() != {"table"}:
            raise ValueError(f"expected 'table', found {', '.join(state) or 'nothing'}")
        shape = (self.tables, self._place.open_actions)
        for name, rows in state["table"].items():
            row = np.asarray(rows, dtype=np.float32)
            if row.shape != shape or not np.isfinite(row).all():
                raise ValueError(f"the row of state {name} has shape {row.shape}, not {shape}")
            if not 0 <= int(name) < STATES:
                raise ValueError(f"there is no state {name}")
            self.table[:, :, int(name)] = row[:, None]

    def _flat(self, features: Floats) -> Floats:
        return np.ascontiguousarray(features).reshape(self._keys.size, -1)


@njit(cache=True, inline="always")
def state_of(row: Any) -> int:
    """Of one row of features; the module's docstring says what it is made of."""
    members, participants, share = row[0], row[1], row[2]
    quality = min(3, int(row[3] * 4))
    against_equal = share * participants
    fair = 0 if against_equal < 0.5 else (1 if against_equal < 1.5 else 2)
    turnout = min(2, int(3 * participants / max(1.0, members)))
    dear = 1 if row[4] * members > row[5] else 0
    return ((quality * 3 + fair) * 3 + turnout) * 2 + dear


def describe(state: int) -> str:
    dear, rest = state % 2, state // 2
    turnout, rest = rest % 3, rest // 3
    price = "an equal share does not cover the price" if dear else "an equal share covers the price"
    return f"quality {rest // 3}/3, share {rest % 3}/2, turnout {turnout}/2, {price}"


@njit(cache=True)
def states_of(rows: Any) -> Any:
    out = np.empty(rows.shape[0], dtype=np.int64)
    for m in range(rows.shape[0]):
        out[m] = state_of(rows[m])
    return out


@njit(cache=True, inline="always")
def fill_one(row: Any, m: int, s: int, table: Any, quality_value: float) -> None:
    """Give a state never seen the estimated value of one round, without the future."""
    if math.isnan(table[0, m, s, 0]):
        expected = row[5] / max(1.0, row[0]) + quality_value * (1.0 - row[3])
        for k in range(table.shape[0]):
            for a in range(table.shape[3]):
                table[k, m, s, a] = _WORK[a] * expected - EFFORTS[a] * row[4]


@njit(cache=True)
def fill(rows: Any, table: Any, quality_value: float) -> None:
    for m in range(rows.shape[0]):
        fill_one(rows[m], m, state_of(rows[m]), table, quality_value)


@njit(cache=True, inline="always")
def best_of(table: Any, m: int, s: int) -> int:
    """The action with the highest sum over the tables; of equals the first."""
    found = 0
    if table.shape[0] == 1:
        row = table[0, m, s]
        for a in range(1, row.size):
            if row[a] > row[found]:
                found = a
        return found
    best = -np.inf
    for a in range(table.shape[3]):
        value = 0.0
        for k in range(table.shape[0]):
            value += table[k, m, s, a]
        if value > best:
            best, found = value, a
    return found


@njit(cache=True, inline="always")
def explored(best: int, key: Any, epsilon: float, any_action: bool, many: int) -> int:
    """The best action, or another in its place with chance `epsilon`."""
    if epsilon <= 0 or uniform(key) >= epsilon:
        return best
    dice = uniform(mix(key, 1))
    if any_action:
        return int(dice * many)
    if best == 0:
        return 1
    # Beyond full effort lies more noise, which is not more of the same.
    if best in (FULL, many - 1):
        return best - 1
    return best - 1 if dice < 0.5 else best + 1


@njit(cache=True, nogil=True)
def _choose(
    rows: Any,
    table: Any,
    keys: Any,
    round_: int,
    epsilon: float,
    any_action: bool,
    quality_value: float,
    out: Any,
) -> None:
    for m in range(rows.shape[0]):
        s = state_of(rows[m])
        fill_one(rows[m], m, s, table, quality_value)
        best = best_of(table, m, s)
        out[m] = explored(best, mix(keys[m], round_), epsilon, any_action, table.shape[3])
