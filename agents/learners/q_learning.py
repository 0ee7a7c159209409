"""Tabular Q-learning (Watkins and Dayan 1992, doi 10.1007/BF00992698), the default in nodes.

Q(s, a) <- Q(s, a) + alpha * (r + gamma * max_a' Q(s', a') - Q(s, a))
"""

from __future__ import annotations

from typing import Any

from numba import njit

from rescind.agents.learners.base import Actions, Floats
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import (
    Tabular,
    TabularConfig,
    best_of,
    fill_one,
    state_of,
)


@register("q-learning", TabularConfig)
class QLearning(Tabular):
    """Tabular Q-learning."""

    name = "q-learning"

    def learn(
        self,
        before: Floats,
        actions: Actions,
        reward: Floats,
        after: Floats,
        round_: int,  # noqa: ARG002
    ) -> None:
        config = self.config
        _learn(
            self._flat(before),
            actions.reshape(-1),
            reward.reshape(-1),
            self._flat(after),
            self.table,
            config.alpha,
            config.gamma,
            config.quality_value,
        )


@njit(cache=True, nogil=True)
def _learn(
    before: Any,
    actions: Any,
    reward: Any,
    after: Any,
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
        target = reward[m] + gamma * table[0, m, next_, best_of(table, m, next_)]
        table[0, m, s, a] += alpha * (target - table[0, m, s, a])
