"""Double Q-learning (van Hasselt 2010, NeurIPS 23): one table chooses, the other values.

A coin decides each round between

    Q_A(s, a) <- Q_A(s, a) + alpha * (r + gamma * Q_B(s', argmax Q_A(s', .)) - Q_A(s, a))

and the same with A and B exchanged. Actions are chosen by the sum of both tables.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from rescind.agents.counter_random import mix, uniform
from rescind.agents.learners.base import Actions, Floats
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import (
    Tabular,
    TabularConfig,
    best_of,
    fill_one,
    state_of,
)

# Sets the coin apart from the draws that explore, which use the round's key itself and branch 1.
_COIN = 5


@register("double-q", TabularConfig)
class DoubleQ(Tabular):
    """Tabular double Q-learning."""

    name = "double-q"
    tables = 2

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        config = self.config
        _learn(
            self._flat(before),
            actions.reshape(-1),
            reward.reshape(-1),
            self._flat(after),
            self.table,
            self._keys,
            round_,
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
    keys: Any,
    round_: int,
    alpha: float,
    gamma: float,
    quality_value: float,
) -> None:
    """Update one of the two tables (2, rows, STATES, actions) for each row, in place."""
    for m in range(actions.size):
        a, states = actions[m], table.shape[2]
        s, next_ = state_of(before[m], states), state_of(after[m], states)
        fill_one(before[m], m, s, table, quality_value)
        fill_one(after[m], m, next_, table, quality_value)
        # A function of round and organization, so that a node which repeats a round learns the
        # same.
        chooser = 0 if uniform(mix(mix(keys[m], round_), _COIN)) < 0.5 else 1
        best = best_of(table[chooser : chooser + 1], m, next_)
        target = reward[m] + gamma * table[1 - chooser, m, next_, best]
        table[chooser, m, s, a] += alpha * (target - table[chooser, m, s, a])
