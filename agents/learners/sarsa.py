"""SARSA (Rummery and Niranjan 1994): Q-learning's on-policy sister.

Q(s, a) <- Q(s, a) + alpha * (r + gamma * Q(s', a') - Q(s, a)), where a' is what is done next, exploring
included: it is chosen when the round is learned from, and kept until it is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rescind.agents.learners.base import Actions, Floats, Place
from rescind.agents.learners.registry import register
from rescind.agents.learners.tabular import Tabular, TabularConfig, fill_one, state_of


@register("sarsa", TabularConfig)
class Sarsa(Tabular):
    name = "sarsa"

    def start(self, place: Place) -> None:
        super().start(place)
        self._planned: tuple[int, Actions] | None = None

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:
        if explore and self._planned is not None and self._planned[0] == round_:
            return self._planned[1].reshape(features.shape[:2])
        return super().choose(features, round_, explore=explore)

    def learn(
        self, before: Floats, actions: Actions, reward: Floats, after: Floats, round_: int
    ) -> None:
        config = self.config
        then = super().choose(after, round_ + 1, explore=True).reshape(-1)
        self._planned = (round_ + 1, then)
        _learn(
            self._flat(before),
            actions.reshape(-1),
            reward.reshape(-1),
            self._flat(after),
            then,
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
            if not 0 <= action < self._place.open_actions:
                raise ValueError(f"the action {action} that was planned is not open")
            self._planned = (round_, np.full(self._keys.size, action, dtype=np.int8))


@njit(cache=True, nogil=True)
def _learn(
    before: Any,
    actions: Any,
    reward: Any,
    after: Any,
    then: Any,
    table: Any,
    alpha: float,
    gamma: float,
    quality_value: float,
) -> None:
    for m in range(actions.size):
        s, next_, a = state_of(before[m]), state_of(after[m]), actions[m]
        fill_one(before[m], m, s, table, quality_value)
        fill_one(after[m], m, next_, table, quality_value)
        target = reward[m] + gamma * table[0, m, next_, then[m]]
        table[0, m, s, a] += alpha * (target - table[0, m, s, a])
