"""The oracle: a best response that knows the game, its random events and the others' last actions.

It uses rollouts (Bertsekas, Tsitsiklis and Wu 1997). For each open action it plays a copy of the
game for `horizon` rounds or to the end, in which the others repeat their last actions and the
oracle repeats this one; then it takes the action that earned most. A node cannot do this: the
oracle bounds what more knowledge is worth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rescind.agents.game import Game
from rescind.agents.learners.base import Actions, Floats, Memoryless
from rescind.agents.learners.registry import register


@dataclass(frozen=True)
class OracleConfig:
    """Settings of the oracle.

    Attributes:
        horizon: Rounds that a rollout plays.
    """

    horizon: int = 24

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}, but must be at least 1")


@register("oracle", OracleConfig)
class Oracle(Memoryless):
    """The oracle.

    Args:
        config: Its settings.
    """

    name = "oracle"

    def __init__(self, config: OracleConfig) -> None:
        self.config = config
        self._game: Game | None = None

    def watch(self, game: Game) -> None:
        """Set the game that it may look into."""
        self._game = game

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        best: Actions = self.values(features).argmax(axis=-1).astype(np.int8)
        return best

    def values(self, features: Floats) -> Floats:
        game, first = self._game, self._seating.first
        if game is None:
            raise ValueError("The oracle needs a game to look into, and a live node has none.")
        last = game.last_actions
        # Before the first round, all others are assumed to take part.
        shape = (*features.shape[:1], game.config.organizations)
        others = np.full(shape, game.fullest, dtype=np.int8)
        if last is not None:
            others = last
        values = np.zeros((*features.shape[:2], self._seating.open_actions))
        for seat in range(features.shape[1]):
            for action in range(self._seating.open_actions):
                values[:, seat, action] = self._rollout(game.clone(), others, first + seat, action)
        return values

    def _rollout(self, game: Game, others: Actions, organization: int, action: int) -> Floats:
        """Return what an organization earns by repeating an action, in ether, (games,)."""
        actions = others.copy()
        actions[:, organization] = action
        total = np.zeros(others.shape[0])
        for _ in range(min(self.config.horizon, game.config.rounds - game.round)):
            total += game.step(actions).reward[:, organization]
        return total
