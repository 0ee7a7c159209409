"""Vectorized participation game: many games of many organizations at once.

One call of `Game.step` plays one round of the consortium, in six steps:

1. spend: each member that has privacy budget left and chooses to take part pays for compute and
   spends epsilon;
2. work: it trains, work = effort x fraction^b / (1 + c noise), and knowledge grows: its own by the
   work, the common one by overlap x size x accuracy x work;
3. score: the reward rule values the accepted updates and makes scores of the values;
4. pay: the contract's rule divides the round's reward by the scores;
5. churn: by chance data subjects withdraw and members leave or return; knowledge leaves with them;
6. know: quality, the share of its questions that an organization's model answers right, becomes
   ceiling x ((1 - overlap) F(own / scale) + overlap F(common / common scale)),
   F(k) = 1 - exp(-k^shape).

An organization's reward is pay - compute cost - privacy cost + value x change in quality. Every
random event is a function of the game's seed, the episode, the round and the organization only.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rescind.agents.counter_random import mix, normal, uniform
from rescind.agents.interface import EFFORTS, FEATURES, FRACTIONS, NOISES, open_actions
from rescind.agents.payout import RULES, to_scores, worths
from rescind.agents.privacy import epsilon_by_action
from rescind.agents.world import (
    ACCEPTED,
    ALONE,
    COST,
    MARGINAL,
    GameConfig,
    Organizations,
    draw,
)

Floats = NDArray[np.float64]
Actions = NDArray[np.int8]

# Branches of a round's random key: one for each step that draws, so that no draw is used twice.
_SCORE_DRAWS, _CHURN_DRAWS = 1, 2
# First word of every game's key; any constant will do, but changing it changes all results.
_KEY_START = np.uint64(0x52657363)


class Step(NamedTuple):
    """Results of one round, each array (games, organizations).

    Attributes:
        acted: The actions that were carried out, int8: absent members and those without privacy
            budget sit out, whatever they chose.
        paid: Pay by the contract, in ether, float64 like all that follow.
        compute: Compute cost, in ether.
        privacy: Privacy cost, in ether.
        gain: Value of the change in quality, in ether.
        score: Scores as the aggregator states them, whole numbers from 0 to 10,000.
    """

    acted: Actions
    paid: Floats
    compute: Floats
    privacy: Floats
    gain: Floats
    score: Floats

    @property
    def reward(self) -> Floats:
        """Return what the round is worth to each organization, in ether."""
        return self.paid - self.compute - self.privacy + self.gain


class State(NamedTuple):
    """Everything that changes from round to round.

    Attributes:
        own: Own work that an organization's model still holds, in full rounds (games,
            organizations).
        given: Its contribution to the common knowledge, same unit and shape.
        quality: Share of its questions that it answers right, 0 to 1 (games, organizations).
        epsilon: Privacy spent so far (games, organizations).
        member: 1 for members, 0 for those who left, int8 (games, organizations).
        share: Share of the last round's reward, 0 to 1 (games, organizations).
        common: Common knowledge, in full rounds (games,).
        pool: Ether left in the reward pool (games,).
        participants: Number of accepted updates in the last round (games,).
    """

    own: Floats
    given: Floats
    quality: Floats
    epsilon: Floats
    member: NDArray[np.int8]
    share: Floats
    common: Floats
    pool: Floats
    participants: Floats


class Parameters(NamedTuple):
    """GameConfig as numbers for the kernels; `work` and `epsilon` are (actions,)."""

    work: Floats
    epsilon: Floats
    rule: int
    reward: float
    energy_amplitude: float
    rounds_per_day: float
    overlap: float
    ceiling: float
    scale: float
    shape: float
    common_scale: float
    privacy_price: float
    privacy_budget: float
    withdrawal_rate: float
    withdrawn_share: float
    leave_rate: float
    join_rate: float
    evaluation_noise: float
    evaluation_margin: float


class _Scratch(NamedTuple):
    """Values of a round's updates, in full rounds (games, organizations).

    Attributes:
        alone: What an update seems to add by itself.
        marginal: What it adds beside the others.
    """

    alone: Floats
    marginal: Floats


class Game:
    """Independent games with the same parameters, stepped together.

    Args:
        config: Parameters of every game.
        seeds: One for each game, (games,). A game's organizations are drawn once from its seed;
            what happens by chance is drawn again for each episode.

    Attributes:
        organizations: The drawn organizations.
        state: What changes from round to round.
        episode: The current episode.
        round: Rounds played in this episode.
        last_actions: Actions carried out in the last round, or None before the first.
    """

    def __init__(self, config: GameConfig, seeds: NDArray[np.integer[Any]]) -> None:
        self.config = config
        self.seeds = np.asarray(seeds, dtype=np.uint64)
        self.organizations = draw(config, self.seeds)
        self.open_actions = open_actions(private=config.private)
        self._shape = (self.seeds.size, config.organizations)
        self._parameters = _parameters(config)
        self.reset(0)

    def reset(self, episode: int) -> Floats:
        """Begin an episode and return its first observation, see `observe`."""
        games, n = shape = self._shape
        self.episode, self.round = episode, 0
        self._keys = np.array(
            [_key(seed, np.uint64(episode)) for seed in self.seeds], dtype=np.uint64
        )
        self.state = State(
            own=np.zeros(shape),
            given=np.zeros(shape),
            quality=np.zeros(shape),
            epsilon=np.zeros(shape),
            member=np.ones(shape, dtype=np.int8),
            share=np.zeros(shape),
            common=np.zeros(games),
            pool=np.full(games, self.config.money[1]),
            participants=np.zeros(games),
        )
        self.last_actions: Actions | None = None
        self._scratch = _Scratch(np.zeros(shape), np.zeros(shape))
        self._features = np.empty((games, n, len(FEATURES)))
        return self.observe()

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
        _observe(
            self._features, self.organizations, self.state, self._parameters, self.round, budget
        )
        return self._features

    def step(self, actions: Actions) -> Step:
        """Play one round.

        Args:
            actions: Indices into ACTIONS, int8 (games, organizations).

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
        step = Step(actions.astype(np.int8), *np.empty((5, *self._shape)))
        _play_round(
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
        other._scratch = _Scratch._make(array.copy() for array in self._scratch)
        other._features = self._features.copy()
        return other


def _parameters(config: GameConfig) -> Parameters:
    curve = config.curve
    return Parameters(
        work=curve.work(EFFORTS, FRACTIONS, NOISES),
        epsilon=epsilon_by_action(config.round_epsilon if config.private else 0.0),
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


@njit(cache=True)
def _key(seed: Any, episode: Any) -> Any:
    """Return the key of an episode, from which all its random events follow."""
    return mix(mix(_KEY_START, seed), episode)


@njit(cache=True, inline="always")
def _reached(work: float, shape: float) -> float:
    """Return the share of what can be known that some work reaches; `LearningCurve.reached`."""
    # The branch spares a pow() in the most frequent case, shape 1.
    if shape == 1.0:
        return 1.0 - math.exp(-work)
    return 1.0 - math.exp(-(work**shape))


@njit(cache=True, inline="always")
def _wave(days: float, amplitude: float) -> float:
    """Return the energy price at a time of day as a factor with mean 1."""
    # The branch spares a sin() where energy has one price all day.
    return 1.0 + amplitude * math.sin(2 * math.pi * days) if amplitude > 0 else 1.0


@njit(cache=True, nogil=True)
def _observe(
    out: Floats,
    organizations: Organizations,
    state: State,
    parameters: Parameters,
    round_: int,
    privacy_budget: float,
) -> None:
    """Fill `out` (games, organizations, FEATURES); a budget of 0: rounds are not private."""
    price, phase = organizations.price, organizations.phase
    member, share, quality, epsilon = state.member, state.share, state.quality, state.epsilon
    day, amplitude = round_ / parameters.rounds_per_day, parameters.energy_amplitude
    games, n = share.shape
    for g in range(games):
        members = 0
        for i in range(n):
            members += member[g, i]
        # The contract pays a round from what is left, so its last round may be short.
        available = min(parameters.reward, state.pool[g])
        for i in range(n):
            wave = _wave(day + phase[g, i], amplitude)
            out[g, i, 0] = members
            out[g, i, 1] = state.participants[g]
            out[g, i, 2] = share[g, i]
            out[g, i, 3] = quality[g, i]
            out[g, i, 4] = price[g, i] * wave
            out[g, i, 5] = available
            spent = epsilon[g, i] / privacy_budget if privacy_budget > 0 else 0.0
            out[g, i, 6] = min(1.0, spent)


# Each step is a kernel of its own that goes through all games: calling a step for one game at a
# time costs a third of the speed of games of ten, in reference counts of the arrays in the named
# tuples. For the same reason those arrays are taken out of the tuples before the loops.


@njit(cache=True, nogil=True)
def _play_round(
    step: Step,
    organizations: Organizations,
    state: State,
    scratch: _Scratch,
    parameters: Parameters,
    keys: NDArray[np.uint64],
    round_: int,
) -> None:
    """Play a round of all games: the six steps of the module's docstring, in their order."""
    _spend(step, organizations, state, parameters, round_)
    _work(step, organizations, state, scratch, parameters)
    _score(step, organizations, scratch, parameters, keys, round_)
    _pay(step, state, parameters)
    _churn(state, parameters, keys, round_)
    _know(step, organizations, state, parameters)


@njit(cache=True, nogil=True)
def _spend(
    step: Step, organizations: Organizations, state: State, p: Parameters, round_: int
) -> None:
    """Step 1: correct the actions to what can be carried out, and charge compute and privacy."""
    acted, compute, privacy = step.acted, step.compute, step.privacy
    price, phase, conducts = organizations.price, organizations.phase, organizations.conduct
    member, epsilon, epsilon_of = state.member, state.epsilon, p.epsilon
    day = round_ / p.rounds_per_day
    games, n = acted.shape
    for g in range(games):
        for i in range(n):
            # Compared before the round: the round that crosses the budget is still played.
            if member[g, i] == 0 or epsilon[g, i] >= p.privacy_budget:
                acted[g, i] = 0
            a = acted[g, i]
            cost = COST[conducts[g, i]]
            wave = _wave(day + phase[g, i], p.energy_amplitude)
            compute[g, i] = price[g, i] * wave * EFFORTS[a] * cost
            # A cheat that does not train spends neither compute nor privacy.
            spent = epsilon_of[a] * cost
            epsilon[g, i] += spent
            privacy[g, i] = p.privacy_price * spent * FRACTIONS[a]


@njit(cache=True, nogil=True)
def _work(
    step: Step, organizations: Organizations, state: State, scratch: _Scratch, p: Parameters
) -> None:
    """Step 2: add the round's work to what is known, and note what each update is worth."""
    acted, accuracy, size = step.acted, organizations.accuracy, organizations.size
    conducts, work_of = organizations.conduct, p.work
    own, given, common = state.own, state.given, state.common
    alone, marginal, participants = scratch.alone, scratch.marginal, state.participants
    games, n = acted.shape
    for g in range(games):
        accepted_updates = 0
        for i in range(n):
            a, conduct = acted[g, i], conducts[g, i]
            work = work_of[a] * accuracy[g, i]
            common_work = p.overlap * size[g, i] * work
            accepted = a > 0 and ACCEPTED[conduct] == 1
            alone[g, i] = common_work * ALONE[conduct] if accepted else 0.0
            marginal[g, i] = common_work * MARGINAL[conduct] if accepted else 0.0
            accepted_updates += accepted
            # Only those who really train learn from their own data.
            if MARGINAL[conduct] > 0:
                own[g, i] += work
            given[g, i] += marginal[g, i]
            common[g] += marginal[g, i]
        # Sign-flipped updates take knowledge away, but never more than there is.
        common[g] = max(0.0, common[g])
        participants[g] = accepted_updates


@njit(cache=True, nogil=True)
def _score(
    step: Step,
    organizations: Organizations,
    scratch: _Scratch,
    p: Parameters,
    keys: NDArray[np.uint64],
    round_: int,
) -> None:
    """Step 3: value the accepted updates by the reward rule, with noise, and score the values."""
    acted, conducts, score = step.acted, organizations.conduct, step.score
    alone, marginal, noise = scratch.alone, scratch.marginal, p.evaluation_noise
    games, n = score.shape
    for g in range(games):
        key = mix(mix(keys[g], round_), _SCORE_DRAWS)
        worths(p.rule, alone[g], marginal[g], n, p.common_scale, score[g])
        for i in range(n):
            if acted[g, i] == 0 or ACCEPTED[conducts[g, i]] == 0:
                score[g, i] = 0.0
            # Rule 0, equal pay, evaluates nothing, so it has no evaluation noise.
            elif noise > 0 and p.rule > 0:
                score[g, i] += noise * normal(mix(key, i))
                if score[g, i] < p.evaluation_margin * noise:
                    score[g, i] = 0.0
        to_scores(score[g], n)


@njit(cache=True, nogil=True)
def _pay(step: Step, state: State, p: Parameters) -> None:
    """Step 4: divide the round's reward by the scores, as Rewards.sol does."""
    score, paid, share, pool = step.score, step.paid, state.share, state.pool
    games, n = score.shape
    for g in range(games):
        total = 0.0
        for i in range(n):
            total += score[g, i]
        available = min(p.reward, pool[g])
        for i in range(n):
            share[g, i] = score[g, i] / total if total > 0 else 0.0
            paid[g, i] = available * share[g, i]
        # Where no update scored, the pool keeps the round's reward.
        if total > 0:
            pool[g] = max(0.0, pool[g] - available)


@njit(cache=True, nogil=True)
def _churn(state: State, p: Parameters, keys: NDArray[np.uint64], round_: int) -> None:
    """Step 5: withdrawals, leaving and returning; contributions leave with those who made them."""
    # Most games have no churn: they need no draws.
    if p.withdrawal_rate + p.leave_rate + p.join_rate == 0:
        return
    member, own, given, common = state.member, state.own, state.given, state.common
    games, n = own.shape
    for g in range(games):
        key = mix(mix(keys[g], round_), _CHURN_DRAWS)
        for i in range(n):
            draw_key, removed = mix(key, i), 0.0
            if member[g, i] == 1:
                # A rate of 0 skips its draw, which would cost time and change nothing.
                if p.withdrawal_rate > 0 and uniform(mix(draw_key, 0)) < p.withdrawal_rate:
                    removed = p.withdrawn_share
                if p.leave_rate > 0 and uniform(mix(draw_key, 1)) < p.leave_rate:
                    removed = 1.0
                    member[g, i] = 0
            elif uniform(mix(draw_key, 2)) < p.join_rate:
                member[g, i] = 1
            if removed > 0:
                common[g] = max(0.0, common[g] - removed * given[g, i])
                given[g, i] *= 1.0 - removed
                own[g, i] *= 1.0 - removed


@njit(cache=True, nogil=True)
def _know(step: Step, organizations: Organizations, state: State, p: Parameters) -> None:
    """Step 6: quality from own and common knowledge. Those who left keep the quality they had."""
    own, common, quality, member = state.own, state.common, state.quality, state.member
    gain, value = step.gain, organizations.value
    games, n = own.shape
    for g in range(games):
        # All members serve the same common knowledge, so its share is computed once for a game.
        common_share = _reached(common[g] / p.common_scale, p.shape)
        for i in range(n):
            before = quality[g, i]
            if member[g, i] == 1:
                own_part = (1.0 - p.overlap) * _reached(own[g, i] / p.scale, p.shape)
                quality[g, i] = p.ceiling * (own_part + p.overlap * common_share)
            gain[g, i] = value[g, i] * (quality[g, i] - before)
