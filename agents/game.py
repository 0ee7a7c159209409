"""Vectorized participation game: many games of many organizations at once.

One call of `Game.step` plays one round of the consortium, in six steps:

1. spend: each member that has privacy budget left and chooses to take part pays for compute, for
   gas and for its bond, and spends epsilon; by chance it does not reveal, and pays the penalty;
2. work: it trains, work = effort x fraction^b / (1 + c noise), and knowledge grows: its own by the
   work, the common one by overlap x size x accuracy x work; statistics that it posts replace its
   earlier ones;
3. score: the reward rule values the accepted updates, Shapley values what the posted statistics
   add to what the organization ever posted, and scores are made of both;
4. pay: the contract's rule divides the round's reward by the scores;
5. churn: by chance data subjects withdraw and members leave or return; knowledge and statistics
   leave with them;
6. know: quality, the share of its questions that an organization's model answers right, becomes
   ceiling x ((1 - overlap) F(own / scale) + overlap C), where C is F(common / common scale),
   F(k) = 1 - exp(-k^shape). Where statistics were agreed on, a share s of the common questions is
   answered from their sum: C = (1 - s) F(common / common scale) + s H(posted).

An organization's reward is pay - compute cost - privacy cost - fees + value x change in quality. Every
random event is a function of the game's seed, the episode, the round and the organization only.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rescind.agents.chain_terms import CLAIM, ETHER_IN_GWEI, gas_of
from rescind.agents.game_state import Actions, Floats, Parameters, Scratch, State, Step
from rescind.agents.interface import FEATURES, FULL, actions_of, levels_of
from rescind.agents.payout import RULES
from rescind.agents.privacy import epsilon_by_action
from rescind.agents.round_kernels import key_of, observe, play_round
from rescind.agents.world import GameConfig, draw

__all__ = ["Actions", "Floats", "Game", "State", "Step"]


class Game:
    """Independent games with the same parameters, stepped together.

    Args:
        config: Parameters of every game.
        seeds: One for each game, (games,). A game's organizations are drawn once from its seed;
            what happens by chance is drawn again for each episode.

    Attributes:
        organizations: The drawn organizations.
        open_actions: Size of the set of actions.
        levels: Levels of the actions by name, each (actions,).
        state: What changes from round to round.
        episode: The current episode.
        round: Rounds played in this episode.
        last_actions: Actions carried out in the last round, or None before the first.
    """

    def __init__(self, config: GameConfig, seeds: NDArray[np.integer[Any]]) -> None:
        self.config = config
        self.seeds = np.asarray(seeds, dtype=np.uint64)
        self.organizations = draw(config, self.seeds)
        self.open_actions = config.open_actions
        self.levels = levels_of(self.open_actions)
        self._shape = (self.seeds.size, config.organizations)
        self._parameters = _parameters(config)
        self.reset(0)

    def reset(self, episode: int) -> Floats:
        """Begin an episode and return its first observation, see `observe`."""
        games, n = shape = self._shape
        self.episode, self.round = episode, 0
        self._keys = np.array(
            [key_of(seed, np.uint64(episode)) for seed in self.seeds], dtype=np.uint64
        )
        self.state = State(
            own=np.zeros(shape),
            given=np.zeros(shape),
            quality=np.zeros(shape),
            epsilon=np.zeros(shape),
            member=np.ones(shape, dtype=np.int8),
            share=np.zeros(shape),
            posted=np.zeros(shape),
            credited=np.zeros(shape),
            common=np.zeros(games),
            pool=np.full(games, self.config.money[1]),
            participants=np.zeros(games),
        )
        self.last_actions: Actions | None = None
        # Games without statistics need no arrays for them.
        rows = shape if self.config.statistics is not None else (0, 0)
        self._scratch = Scratch(
            np.zeros(shape),
            np.zeros(shape),
            np.zeros(rows),
            np.zeros(rows),
            np.zeros(shape, dtype=np.int8),
        )
        self._features = np.empty((games, n, len(FEATURES)))
        return self.observe()

    @property
    def fullest(self) -> int:
        """Index of full effort on all data, with statistics where they were agreed on."""
        return FULL + (self.open_actions // 2 if self.config.statistics is not None else 0)

    @property
    def over(self) -> bool:
        """Return whether the episode has ended."""
        return self.round >= self.config.rounds

    def price(self, round_: int | None = None) -> Floats:
        """Return the price of a round at full effort, in ether, (games, organizations).

        Args:
            round_: The round, from 0; the current one when None.
        """
        organizations, config = self.organizations, self.config
        now = self.round if round_ is None else round_
        angle = 2 * math.pi * (now / config.rounds_per_day + organizations.phase)
        wave: Floats = organizations.price * (1.0 + config.energy_amplitude * np.sin(angle))
        return wave

    def observe(self) -> Floats:
        """Return what each organization sees before the round.

        Returns:
            float64 (games, organizations, FEATURES). The next call overwrites this array.
        """
        config = self.config
        budget = config.privacy_budget if config.private else 0.0
        observe(
            self._features, self.organizations, self.state, self._parameters, self.round, budget
        )
        return self._features

    def step(self, actions: Actions) -> Step:
        """Play one round.

        Args:
            actions: Indices into the set of open actions, int8 (games, organizations).

        Raises:
            ValueError: `actions` has another shape, or holds an action that is not open.
            IndexError: The episode has ended.
        """
        if self.over:
            raise IndexError(f"The game ended after {self.config.rounds} rounds. Reset it first.")
        if actions.shape != self._shape:
            raise ValueError(f"actions have shape {actions.shape}, expected {self._shape}.")
        if actions.size and not 0 <= actions.min() <= actions.max() < self.open_actions:
            raise ValueError(
                f"actions holds values from {actions.min()} to {actions.max()}, but the open "
                f"actions are 0..{self.open_actions - 1}."
            )
        paid, compute, privacy, fees, gain, score = np.empty((6, *self._shape))
        forfeited = np.zeros(self._shape[0])
        step = Step(actions.astype(np.int8), paid, compute, privacy, fees, gain, score, forfeited)
        play_round(
            step,
            self.organizations,
            self.state,
            self._scratch,
            self._parameters,
            self._keys,
            self.round,
        )
        self.round += 1
        self.last_actions = step.acted
        return step

    def clone(self) -> Self:
        """Return an independent copy that continues from the current round."""
        other = copy.copy(self)
        other.state = State._make(array.copy() for array in self.state)
        other._scratch = Scratch._make(array.copy() for array in self._scratch)
        other._features = self._features.copy()
        return other


def _parameters(config: GameConfig) -> Parameters:
    curve, size, terms = config.curve, config.open_actions, config.statistics
    levels = levels_of(size)
    gas = np.array(
        [gas_of(action, two_parts=terms is not None) for action in actions_of(size)],
        dtype=np.float64,
    ).T * (config.gas_price / ETHER_IN_GWEI)
    return Parameters(
        effort=levels["effort"],
        fraction=levels["data_fraction"],
        work=curve.work(levels["effort"], levels["data_fraction"], levels["noise"]),
        epsilon=epsilon_by_action(size, config.round_epsilon if config.private else 0.0),
        posts=levels["statistics"],
        gas=gas[0].copy(),
        early_gas=gas[1].copy(),
        claim=CLAIM * config.gas_price / ETHER_IN_GWEI,
        capital=config.bond * config.capital_rate,
        unrevealed_rate=config.unrevealed_rate,
        penalty=config.unrevealed_penalty,
        statistics=terms.share if terms is not None else 0.0,
        statistics_price=terms.price if terms is not None else 0.0,
        statistics_epsilon=terms.epsilon if terms is not None and config.private else 0.0,
        statistics_scale=config.statistics_scale,
        statistics_shape=terms.shape if terms is not None else 1.0,
        rule=RULES.index(config.reward_rule),
        reward=config.money[0],
        energy_amplitude=config.energy_amplitude,
        rounds_per_day=float(config.rounds_per_day),
        overlap=config.overlap,
        ceiling=curve.ceiling,
        scale=curve.scale,
        shape=curve.shape,
        common_scale=config.common_scale,
        privacy_price=config.privacy_price,
        privacy_budget=config.privacy_budget if config.private else math.inf,
        withdrawal_rate=config.withdrawal_rate,
        withdrawn_share=config.withdrawn_share,
        leave_rate=config.leave_rate,
        join_rate=config.join_rate,
        evaluation_noise=config.evaluation_noise,
        evaluation_margin=config.evaluation_margin,
    )
