"""SARSA (Rummery and Niranjan 1994): the on-policy variant of Q-learning.

Q(s, a) <- Q(s, a) + alpha * (r + gamma * Q(s', a') - Q(s, a))

Here a' is the next action, exploration included. It is chosen when a round is learned from, and
kept until the next round asks for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rescind.agents.learners.base import Actions, Floats, Seating
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import Tabular, TabularConfig, fill_one, state_of


@register("sarsa", TabularConfig)
class Sarsa(Tabular):
    """Tabular SARSA."""

    name = "sarsa"

    def start(self, seating: Seating) -> None:
        super().start(seating)
        self._planned: tuple[int, Actions] | None = None

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        if explore and self._planned is not None and self._planned[0] == round_:
            return self._planned[1].reshape(features.shape[:2])
        return super().choose(features, round_, explore=explore)

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        config = self.config
        next_actions = super().choose(after, round_ + 1, explore=True).reshape(-1)
        self._planned = (round_ + 1, next_actions)
        _learn(
            self._flat(before),
            actions.reshape(-1),
            reward.reshape(-1),
            self._flat(after),
            next_actions,
            self.table,
            config.alpha,
            config.gamma,
            config.quality_value,
        )

    def state(self, seat: int = 0) -> dict[str, Any]:
        planned = self._planned and [self._planned[0], int(self._planned[1][seat])]
        return {**super().state(seat), "planned": planned}

    def restore(self, state: dict[str, Any]) -> None:
        planned = state["planned"]
        super().restore({key: value for key, value in state.items() if key != "planned"})
        if planned is not None:
            round_, action = int(planned[0]), int(planned[1])
            if not 0 <= action < self._seating.open_actions:
                raise ValueError(
                    f"the planned action is {action}, but the open actions are "
                    f"0..{self._seating.open_actions - 1}"
                )
            self._planned = (round_, np.full(self._keys.size, action, dtype=np.int8))


@njit(cache=True, nogil=True)
def _learn(
    before: Any,
    actions: Any,
    reward: Any,
    after: Any,
    next_actions: Any,
    table: Any,
    alpha: float,
    gamma: float,
    quality_value: float,
) -> None:
    """Update the table (1, rows, STATES, actions) for each row, in place."""
    for m in range(actions.size):
        a, states = actions[m], table.shape[2]
        s, next_ = state_of(before[m], states), state_of(after[m], states)
        fill_one(before[m], m, s, table, quality_value)
        fill_one(after[m], m, next_, table, quality_value)
        target = reward[m] + gamma * table[0, m, next_, next_actions[m]]
        table[0, m, s, a] += alpha * (target - table[0, m, s, a])
