"""A contextual bandit: UCB1 (Auer, Cesa-Bianchi and Fischer 2002) in each state by itself.

The action with the highest mean reward + c sqrt(2 ln n(s) / n(s, a)); the prior counts as one pull. What
an action does to later rounds is not looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from rescind.agents.learners.base import Actions, Floats, Place
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import (
    STATES,
    Tabular,
    TabularConfig,
    fill_one,
    state_of,
)


@dataclass(frozen=True)
class BanditConfig:
    """`exploration`: c, in ether. `quality_value`: as TabularConfig's."""

    exploration: float = 0.05
    quality_value: float = 0.5

    def __post_init__(self) -> None:
        if not self.exploration >= 0:
            raise ValueError(f"exploration is {self.exploration}, but cannot be negative")


@register("bandit", BanditConfig)
class Bandit(Tabular):
    name = "bandit"

    def __init__(self, config: BanditConfig) -> None:
        super().__init__(TabularConfig(epsilon=0.0, quality_value=config.quality_value))
        self.bandit = config

    def start(self, place: Place) -> None:
        super().start(place)
        self.pulls = np.ones((self._keys.size, STATES, place.open_actions), dtype=np.float32)

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        if not explore:
            return super().choose(features, round_, explore=False)
        out = np.empty(self._keys.size, dtype=np.int8)
        value = self.config.quality_value
        _choose(
            self._flat(features),
            self.table,
            self.pulls,
            self.bandit.exploration,
            value,
            out,
        )
        return out.reshape(features.shape[:2])

    def learn(
        self,
        before: Floats,
        actions: Actions,
        reward: Floats,
        after: Floats,  # noqa: ARG002
        round_: int,  # noqa: ARG002
    ) -> None:
        rows, value = self._flat(before), self.config.quality_value
        _learn(rows, actions.reshape(-1), reward.reshape(-1), self.table, self.pulls, value)

    def state(self, seat: int = 0) -> dict[str, Any]:
        told = super().state(seat)
        return {**told, "pulls": {s: self.pulls[seat, int(s)].tolist() for s in told["table"]}}

    def restore(self, state: dict[str, Any]) -> None:
        pulls = state["pulls"]
        super().restore({key: value for key, value in state.items() if key != "pulls"})
        for name, row in pulls.items():
            counted = np.asarray(row, dtype=np.float32)
            if counted.shape != (self._place.open_actions,) or not (counted >= 1).all():
                raise ValueError(f"the pulls of state {name} are not counts")
            self.pulls[:, int(name)] = counted


@njit(cache=True, nogil=True)
def _choose(rows: Any, table: Any, pulls: Any, c: float, quality_value: float, out: Any) -> None:
    for m in range(out.size):
        s = state_of(rows[m])
        fill_one(rows[m], m, s, table, quality_value)
        total = 0.0
        for a in range(table.shape[3]):
            total += pulls[m, s, a]
        best, found = -np.inf, 0
        for a in range(table.shape[3]):
            value = table[0, m, s, a] + c * math.sqrt(2.0 * math.log(total) / pulls[m, s, a])
            if value > best:
                best, found = value, a
        out[m] = found


@njit(cache=True, nogil=True)
def _learn(
    rows: Any, actions: Any, reward: Any, table: Any, pulls: Any, quality_value: float
) -> None:
    for m in range(actions.size):
        s, a = state_of(rows[m]), actions[m]
        fill_one(rows[m], m, s, table, quality_value)
        pulls[m, s, a] += 1.0
        table[0, m, s, a] += (reward[m] - table[0, m, s, a]) / pulls[m, s, a]
