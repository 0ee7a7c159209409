"""States, prior values and exploration of the tabular learners.

There are 72 states, or 144 where statistics were agreed on. A state combines

- quality, in quarters (4);
- the last share of the reward relative to an equal one: below 0.5, up to 1.5, or above (3);
- turnout, in thirds (3);
- whether an equal share of the reward covers the price of a round (2);
- where statistics were agreed on, whether the model holds most of the organization's (2).
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
    HAS_STATISTICS,
    NOISES,
    POSTS,
)
from rescind.agents.learners.base import Actions, Floats, Seating

STATES = 72
"""Number of states without statistics, 4 * 3 * 3 * 2."""


def states_for(open_actions: int) -> int:
    """Return the number of states for a set of actions of this size."""
    return STATES * 2 if HAS_STATISTICS[open_actions] else STATES


_EXPLORATION = 3
"""Stream of exploration (see `Seating.keys`)."""

# By size of the set of actions and index: the share of what there is to gain that an action is
# thought to bring. Where statistics are open, training brings half of it, and posting the other
# half of what is not posted yet.
_BY_TRAINING = EFFORTS * FRACTIONS / (1.0 + NOISES) * np.where(HAS_STATISTICS, 0.5, 1.0)[:, None]
_BY_POSTING = 0.5 * POSTS


@dataclass(frozen=True)
class TabularConfig:
    """Settings of the tabular learners.

    Attributes:
        alpha: Step size, 0 to 1.
        gamma: Discount of the next round, 0 to 1.
        epsilon: Chance to explore, 0 to 1.
        epsilon_end: Chance to explore after `explore_rounds`, 0 to 1.
        explore_rounds: Rounds over which the chance moves to `epsilon_end`; 0 keeps it at
            `epsilon`.
        explore: "neighbour" tries an action next to the best, which a live node can afford; "any"
            tries any action.
        quality_value: Value of a model that answers all questions, in ether, for the prior.
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
        """Return the chance to explore in a round."""
        if not self.explore_rounds:
            return self.epsilon
        done = min(1.0, round_ / self.explore_rounds)
        return self.epsilon + done * (self.epsilon_end - self.epsilon)


class Tabular:
    """Base of learners with a table of action values.

    Args:
        config: Its settings.

    Attributes:
        tables: Number of tables; double Q-learning has two.
        table: Action values in ether, float32 (tables, games * seats, states, open actions); NaN in
            states that were not seen.
    """

    name: str
    tables = 1

    def __init__(self, config: TabularConfig) -> None:
        self.config = config

    def start(self, seating: Seating) -> None:
        self._seating = seating
        self._keys = seating.keys(_EXPLORATION)
        states = states_for(seating.open_actions)
        shape = (self.tables, self._keys.size, states, seating.open_actions)
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
        states = states_of(rows, self.table.shape[2])
        values = self.table[:, np.arange(states.size), states].mean(axis=0, dtype=np.float64)
        return np.asarray(values.reshape(*features.shape[:2], -1))

    def state(self, seat: int = 0) -> dict[str, Any]:
        seen = np.flatnonzero(~np.isnan(self.table[0, seat, :, 0]))
        return {"table": {str(s): self.table[:, seat, s].tolist() for s in seen}}

    def restore(self, state: dict[str, Any]) -> None:
        if state.keys() != {"table"}:
            raise ValueError(f"expected 'table', found {', '.join(state) or 'nothing'}")
        shape = (self.tables, self._seating.open_actions)
        for name, rows in state["table"].items():
            with np.errstate(over="ignore"):
                row = np.asarray(rows, dtype=np.float32)
            if row.shape != shape:
                raise ValueError(f"the row of state {name} has shape {row.shape}, not {shape}")
            if not np.isfinite(row).all():
                raise ValueError(
                    f"the row of state {name} has a number that is not a finite float32"
                )
            states = self.table.shape[2]
            if not 0 <= int(name) < states:
                raise ValueError(f"there is no state {name}. States are 0 to {states - 1}")
            self.table[:, :, int(name)] = row[:, None]

    def _flat(self, features: Floats) -> Floats:
        return np.ascontiguousarray(features).reshape(self._keys.size, -1)


# The kernels go through rows one by one: with numpy each step would write an array of all rows, and
# a table of a million organizations is larger than any cache. Small functions are inlined into
# them.


@njit(cache=True, inline="always")
def state_of(row: Any, states: int) -> int:
    """Return the state of one row of features among so many, see the module's docstring."""
    # Columns are in the order of FEATURES: 3 is quality, 4 the price, 5 the available reward, 7
    # the share of the rows that is posted.
    members, participants, share = row[0], row[1], row[2]
    quality = min(3, int(row[3] * 4))
    relative_share = share * participants
    fair = 0 if relative_share < 0.5 else (1 if relative_share < 1.5 else 2)
    turnout = min(2, int(3 * participants / max(1.0, members)))
    dear = 1 if row[4] * members > row[5] else 0
    posted = STATES if states > STATES and row[7] >= 0.5 else 0
    return ((quality * 3 + fair) * 3 + turnout) * 2 + dear + posted


def describe(state: int) -> str:
    """Return a state in words, with each level and the highest one."""
    posted, state = ", statistics posted" if state >= STATES else "", state % STATES
    dear, rest = state % 2, state // 2
    turnout, rest = rest % 3, rest // 3
    price = "an equal share does not cover the price" if dear else "an equal share covers the price"
    return f"quality {rest // 3}/3, share {rest % 3}/2, turnout {turnout}/2, {price}{posted}"


@njit(cache=True)
def states_of(rows: Any, states: int) -> Any:
    """Return the state of each row among so many, int64 (rows,)."""
    out = np.empty(rows.shape[0], dtype=np.int64)
    for m in range(rows.shape[0]):
        out[m] = state_of(rows[m], states)
    return out


@njit(cache=True, inline="always")
def fill_one(row: Any, m: int, s: int, table: Any, quality_value: float) -> None:
    """Fill an unseen state of row `m` with the estimated value of one round, without the future."""
    if math.isnan(table[0, m, s, 0]):
        # An equal share of the reward, and all of the quality that is still missing; both grow with
        # what the action brings, and the price with its effort.
        new_rows = 1.0 - row[7]
        expected = row[5] / max(1.0, row[0]) + quality_value * (1.0 - row[3])
        n = table.shape[3]
        for k in range(table.shape[0]):
            for a in range(n):
                brought = _BY_TRAINING[n, a] + _BY_POSTING[n, a] * new_rows
                table[k, m, s, a] = brought * expected - EFFORTS[n, a] * row[4]


@njit(cache=True)
def fill(rows: Any, table: Any, quality_value: float) -> None:
    """Fill the states of all rows that were not seen before."""
    for m in range(rows.shape[0]):
        fill_one(rows[m], m, state_of(rows[m], table.shape[2]), table, quality_value)


@njit(cache=True, inline="always")
def best_of(table: Any, m: int, s: int) -> int:
    """Return the action with the highest sum over the tables; the first of equal ones."""
    best = 0
    # One table needs no sums, and is the most frequent case.
    if table.shape[0] == 1:
        row = table[0, m, s]
        for a in range(1, row.size):
            if row[a] > row[best]:
                best = a
        return best
    highest = -np.inf
    for a in range(table.shape[3]):
        value = 0.0
        for k in range(table.shape[0]):
            value += table[k, m, s, a]
        if value > highest:
            highest, best = value, a
    return best


@njit(cache=True, inline="always")
def explored(best: int, key: Any, epsilon: float, any_action: bool, open_actions: int) -> int:
    """Return the best action, or with chance `epsilon` another one in its place."""
    if epsilon <= 0 or uniform(key) >= epsilon:
        return best
    draw = uniform(mix(key, 1))
    if any_action:
        return int(draw * open_actions)
    # Neighbours are the same action with or without statistics, and those beside it in its half.
    half, first = open_actions, 0
    if HAS_STATISTICS[open_actions]:
        half = open_actions // 2
        if draw < 1 / 3:
            return (best + half) % open_actions
        draw, first, best = (draw - 1 / 3) * 1.5, best - best % half, best % half
    if best == 0:
        return first + 1
    # The action after FULL is the least with more noise, so it is not a neighbour of FULL.
    if best in (FULL, half - 1):
        return first + best - 1
    return first + (best - 1 if draw < 0.5 else best + 1)


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
    """Fill `out` (rows,) with the best or explored action of each row."""
    for m in range(rows.shape[0]):
        s = state_of(rows[m], table.shape[2])
        fill_one(rows[m], m, s, table, quality_value)
        best = best_of(table, m, s)
        out[m] = explored(best, mix(keys[m], round_), epsilon, any_action, table.shape[3])
