"""Double Q-learning (van Hasselt 2010, NeurIPS 23): one table chooses the next action, the other values it.

By the toss of a coin, Q_A(s, a) <- Q_A(s, a) + alpha * (r + gamma * Q_B(s', argmax Q_A(s', .)) - Q_A(s, a)),
or the same with A and B exchanged. Actions are chosen by the sum.
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


@register("double-q", TabularConfig)
class DoubleQ(Tabular):
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
    for m in range(actions.size):
        s, then, a = state_of(before[m]), state_of(after[m]), actions[m]
        fill_one(before[m], m, s, table, quality_value)
        fill_one(after[m], m, then, table, quality_value)
        one = 0 if uniform(mix(mix(keys[m], round_), 5)) < 0.5 else 1
        best = best_of(table[one : one + 1], m, then)
        target = reward[m] + gamma * table[1 - one, m, then, best]
        table[one, m, s, a] += alpha * (target - table[one, m, s, a])
