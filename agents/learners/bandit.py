"""Contextual bandit: UCB1 (Auer, Cesa-Bianchi and Fischer 2002) in each state separately.

It takes the action with the highest mean reward + c sqrt(2 ln n(s) / n(s, a)). The prior counts as
one pull. What an action does to later rounds is ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from rescind.agents.learners.base import Actions, Floats, Seating
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import (
    Tabular,
    TabularConfig,
    fill_one,
    state_of,
    states_for,
)


@dataclass(frozen=True)
class BanditConfig:
    """Settings of the bandit.

    Attributes:
        exploration: Weight c of the exploration term, in ether.
        quality_value: Value of a model that answers all questions, in ether, for the prior.
    """

    exploration: float = 0.05
    quality_value: float = 0.5

    def __post_init__(self) -> None:
        if not self.exploration >= 0:
            raise ValueError(f"exploration is {self.exploration}, but cannot be negative")


@register("bandit", BanditConfig)
class Bandit(Tabular):
    """A UCB1 bandit.

    Args:
        config: Its settings.

    Attributes:
        bandit: Its settings.
        table: Mean reward of each action in ether, as `Tabular.table`.
        pulls: Pulls of each action, float32 (games * seats, states, open actions).
    """

    name = "bandit"

    def __init__(self, config: BanditConfig) -> None:
        super().__init__(TabularConfig(epsilon=0.0, quality_value=config.quality_value))
        self.bandit = config

    def start(self, seating: Seating) -> None:
        super().start(seating)
        shape = (self._keys.size, states_for(seating.open_actions), seating.open_actions)
        self.pulls = np.ones(shape, dtype=np.float32)

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        if not explore:
            return super().choose(features, round_, explore=False)
        out = np.empty(self._keys.size, dtype=np.int8)
        rows, value = self._flat(features), self.config.quality_value
        _choose(rows, self.table, self.pulls, self.bandit.exploration, value, out)
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
        state = super().state(seat)
        return {**state, "pulls": {s: self.pulls[seat, int(s)].tolist() for s in state["table"]}}

    def restore(self, state: dict[str, Any]) -> None:
        pulls = state["pulls"]
        super().restore({key: value for key, value in state.items() if key != "pulls"})
        for name, row in pulls.items():
            with np.errstate(over="ignore"):
                counts = np.asarray(row, dtype=np.float32)
            if (
                counts.shape != (self._seating.open_actions,)
                or not (np.isfinite(counts) & (counts >= 1)).all()
            ):
                raise ValueError(
                    f"the pulls of state {name} are not {self._seating.open_actions} counts from 1"
                )
            self.pulls[:, int(name)] = counts


@njit(cache=True, nogil=True)
def _choose(rows: Any, table: Any, pulls: Any, c: float, quality_value: float, out: Any) -> None:
    """Fill `out` (rows,) with the action of the highest upper bound; the first of equal ones."""
    for m in range(out.size):
        s = state_of(rows[m], table.shape[2])
        fill_one(rows[m], m, s, table, quality_value)
        # Pulls begin at 1, so the logarithm is at least 0 and the division is finite.
        total = 0.0
        for a in range(table.shape[3]):
            total += pulls[m, s, a]
        highest, best = -np.inf, 0
        for a in range(table.shape[3]):
            bound = table[0, m, s, a] + c * math.sqrt(2.0 * math.log(total) / pulls[m, s, a])
            if bound > highest:
                highest, best = bound, a
        out[m] = best


@njit(cache=True, nogil=True)
def _learn(
    rows: Any, actions: Any, reward: Any, table: Any, pulls: Any, quality_value: float
) -> None:
    """Move the mean of each action that was taken by its new reward, in place."""
    for m in range(actions.size):
        s, a = state_of(rows[m], table.shape[2]), actions[m]
        fill_one(rows[m], m, s, table, quality_value)
        pulls[m, s, a] += 1.0
        table[0, m, s, a] += (reward[m] - table[0, m, s, a]) / pulls[m, s, a]
