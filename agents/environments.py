"""The game as environments of PettingZoo (all organizations) and Gymnasium (one organization).

Importing this module registers `rescind/Participation-v1` with Gymnasium. The version rises with
every change that alters results. The module needs `pip install 'rescind[agents]'`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from pettingzoo import ParallelEnv

from rescind.agents.game import Game, Step
from rescind.agents.interface import FEATURES
from rescind.agents.learners import Learner, make_learner
from rescind.agents.play import Seated, sit
from rescind.agents.world import GameConfig

ENVIRONMENT_ID = "rescind/Participation-v1"

# The highest value of each of FEATURES: far above any real count or price, 1 for shares.
_HIGHEST = np.array([1e6, 1e6, 1.0, 1.0, 1e9, 1e9, 1.0, 1.0], dtype=np.float32)

Seen = np.ndarray[Any, np.dtype[np.float32]]


def _space() -> Box:
    """Return the space of FEATURES in their order, unscaled: counts, shares and ether."""
    return Box(np.zeros(len(FEATURES), np.float32), _HIGHEST, dtype=np.float32)


class Participation(ParallelEnv[str, Seen, int]):  # type: ignore[misc]
    """All organizations at once, as agents `organization_0` and so on.

    Members who left remain agents, and sit out. The `infos` of a round hold `acted`, `paid`,
    `compute`, `privacy`, `fees`, `gain` and `score` for each organization, as `rescind.agents.game.Step`
    describes them.

    Args:
        config: Parameters of the game.
        seed: Seed of the organizations and of random events.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "rescind_participation_v1", "render_modes": []}

    def __init__(self, config: GameConfig | None = None, *, seed: int = 0) -> None:
        self.config = config or GameConfig()
        self.possible_agents = [f"organization_{n}" for n in range(self.config.organizations)]
        self.agents: list[str] = []
        self.observation_spaces = {name: _space() for name in self.possible_agents}
        count = self.config.open_actions
        self.action_spaces = {name: Discrete(count) for name in self.possible_agents}
        self._seed, self._episode = seed, -1
        self._game: Game | None = None
        self.render_mode = None

    def observation_space(self, agent: str) -> Space[Any]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[dict[str, Seen], dict[str, dict[str, Any]]]:
        """Begin an episode; only a `seed` draws new organizations."""
        if seed is not None:
            self._seed, self._episode, self._game = seed, -1, None
        if self._game is None:
            self._game = Game(self.config, np.array([self._seed], dtype=np.uint64))
        self._episode += 1
        self.agents = list(self.possible_agents)
        return self._seen(self._game.reset(self._episode)), {name: {} for name in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[
        dict[str, Seen],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        game = self._game
        assert game is not None, "reset comes first"
        chosen = np.array([[actions[name] for name in self.agents]], dtype=np.int8)
        step = game.step(chosen)
        seen = self._seen(game.observe())
        rewards = {name: float(step.reward[0, n]) for n, name in enumerate(self.agents)}
        infos = {name: _info(step, n) for n, name in enumerate(self.agents)}
        ended = dict.fromkeys(self.agents, False)
        truncated = dict.fromkeys(self.agents, game.over)
        if game.over:
            self.agents = []
        return seen, rewards, ended, truncated, infos

    def render(self) -> None:
        """Do nothing: there is no picture of the game."""

    def _seen(self, features: Any) -> dict[str, Seen]:
        return {
            name: features[0, n].astype(np.float32) for n, name in enumerate(self.possible_agents)
        }


class Solo(gymnasium.Env[Seen, int]):
    """One organization among others who have a policy.

    Args:
        config: Parameters of the game.
        others: The others' policy: one of LEARNERS, or a learner that was started on the game's
            seats.
        others_learn: Whether the others explore and learn.
        seat: The organization that the environment's actions are of.
        seed: Seed of the organizations and of random events.
        render_mode: Must be None; there is no picture of the game.

    Raises:
        ValueError: There is no such seat.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium reads it from the class)

    def __init__(
        self,
        config: GameConfig | None = None,
        *,
        others: str | Learner = "myopic",
        others_learn: bool = False,
        seat: int = 0,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        self.config = config or GameConfig()
        if not 0 <= seat < self.config.organizations:
            raise ValueError(f"seat is {seat}, but must be 0 to {self.config.organizations - 1}.")
        self.observation_space: Space[Any] = _space()
        self.action_space: Space[Any] = Discrete(self.config.open_actions)
        self.render_mode = render_mode
        self._seat, self._others_learn = seat, others_learn
        self._others, self._sit = others, isinstance(others, str)
        self._seed = seed
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self._seed, self._episode = seed, -1
        self._game = Game(self.config, np.array([seed], dtype=np.uint64))
        learner = make_learner(self._others) if isinstance(self._others, str) else self._others
        self._table: Seated = sit(self._game, learner, start=self._sit)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Seen, dict[str, Any]]:
        """Begin an episode; only a `seed` draws new organizations."""
        super().reset(seed=seed, options=options)
        if seed is not None and seed != self._seed:
            self._begin(seed)
        elif seed is not None:
            self._episode = -1
        self._episode += 1
        self._features = self._game.reset(self._episode).copy()
        return self._seen(), {}

    def step(self, action: int) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        game, table = self._game, self._table
        clock = self._episode * self.config.rounds + game.round + 1
        actions = table.learner.choose(self._features, clock, explore=self._others_learn).copy()
        actions[0, self._seat] = action
        step = game.step(actions)
        after = game.observe()
        if self._others_learn:
            table.learner.learn(self._features, step.acted, step.reward, after, clock)
        self._features[...] = after
        reward, info = float(step.reward[0, self._seat]), _info(step, self._seat)
        return self._seen(), reward, False, game.over, info

    def _seen(self) -> Seen:
        return np.asarray(self._features[0, self._seat], dtype=np.float32)


def _info(step: Step, organization: int) -> dict[str, Any]:
    """Return one organization's results of a round, by name."""
    fields = ("paid", "compute", "privacy", "fees", "gain", "score")
    values = {field: float(getattr(step, field)[0, organization]) for field in fields}
    return {"acted": int(step.acted[0, organization]), **values}


def register() -> None:
    """Register the environment with Gymnasium, unless it is registered already."""
    if ENVIRONMENT_ID not in gymnasium.registry:
        gymnasium.register(id=ENVIRONMENT_ID, entry_point="rescind.agents.environments:Solo")


register()
