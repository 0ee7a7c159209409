"""The oracle's best response: it knows the game, its chances and what the others did last.

A rollout (Bertsekas, Tsitsiklis and Wu 1997): for each open action, the game is played on from here, the
others repeating their last actions and the oracle this one, for `horizon` rounds or to the end; the action
that brought most is taken. No node can do this; it bounds what knowing more is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rescind.agents.game import Game
from rescind.agents.interface import FULL
from rescind.agents.learners.base import Actions, Floats, Memoryless
from rescind.agents.learners.registry import register


@dataclass(frozen=True)
class OracleConfig:
    horizon: int = 24

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}, but must be at least 1")


@register("oracle", OracleConfig)
class Oracle(Memoryless):
    name = "oracle"

    def __init__(self, config: OracleConfig) -> None:
        self.config = config
        self._game: Game | None = None

    def watch(self, game: Game) -> None:
        """The game that it may look into."""
        self._game = game

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        best: Actions = self.values(features).argmax(axis=-1).astype(np.int8)
        return best

    def values(self, features: Floats) -> Floats:
        game, first = self._game, self._place.first
        if game is None:
            raise ValueError("The oracle needs a game to look into, and a live node has none.")
        last = game.last_actions
        others = np.full((*features.shape[:1], game.config.organizations), FULL, dtype=np.int8)
        if last is not None:
            others = last
        found = np.zeros((*features.shape[:2], self._place.open_actions))
        for seat in range(features.shape[1]):
            for action in range(self._place.open_actions):
                found[:, seat, action] = self._rollout(game.clone(), others, first + seat, action)
        return found

    def _rollout(self, game: Game, others: Actions, who: int, action: int) -> Floats:
        actions = others.copy()
        actions[:, who] = action
        total = np.zeros(others.shape[0])
        for _ in range(min(self.config.horizon, game.config.rounds - game.round)):
            total += game.step(actions).reward[:, who]
        return total
