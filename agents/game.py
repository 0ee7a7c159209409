"""The participation game, many games of many organizations at once.

One step is one round of the consortium:

1. who is a member, has budget left and chooses to, trains: work = effort x fraction^b / (1 + c noise);
2. accepted updates are scored by the reward rule, and the contract's rule pays the scores;
3. knowledge grows: an organization's own by its work, the common one by overlap x size x accuracy x
   work, summed over all;
4. quality is what an organization's model answers of its questions,
   ceiling x ((1 - overlap) F(own / scale) + overlap F(common / common scale)), F(k) = 1 - exp(-k^shape);
5. data subjects withdraw and members leave or come back by chance, and knowledge goes with them.

An organization's reward is pay - compute cost - privacy cost + value x change in quality. What happens by
chance depends on the game's seed, the episode, the round and the organization, and on nothing else.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rescind.agents.counter_random import mix, normal, uniform
from rescind.agents.interface import (
    EFFORTS,
    FEATURES,
    FRACTIONS,
    NOISES,
    epsilons,
    open_actions,
)
from rescind.agents.payout import RULES, to_scores, worths
from rescind.agents.world import (
    ACCEPTED,
    ALONE,
    COST,
    MARGINAL,
    GameConfig,
    draw,
)

Floats = NDArray[np.float64]
Actions = NDArray[np.int8]


@dataclass(frozen=True)
class Step:
    """What one round brought, float64 (games, organizations), in ether where it is money. `acted`: the
    actions that were carried out, int8: absent members and those without budget sit out."""

    acted: Actions
    paid: Floats
    compute: Floats
    privacy: Floats
    gain: Floats
    score: Floats

    @property
    def reward(self) -> Floats:
        return self.paid - self.compute - self.privacy + self.gain


class Game:
    """`seeds`: one for each game; organizations are drawn from them once, chance anew in each episode."""

    def __init__(self, config: GameConfig, seeds: NDArray[np.integer[Any]]) -> None:
        self.config = config
        self.seeds = np.asarray(seeds, dtype=np.uint64)
        self.organizations = draw(config, self.seeds)
        self.open_actions = open_actions(private=config.private)
        self._shape = (self.seeds.size, config.organizations)
        self._work = config.curve.work(EFFORTS, FRACTIONS, NOISES)
        self._epsilons = epsilons(config.round_epsilon if config.private else 0.0)
        self.reset(0)

    def reset(self, episode: int) -> Floats:
        """Begin anew; the first observation."""
        games, n = shape = self._shape
        self.episode, self.round = episode, 0
        self.keys = np.array(
            [_key(seed, np.uint64(episode)) for seed in self.seeds], dtype=np.uint64
        )
        self.own, self.given, self.quality = (np.zeros(shape) for _ in range(3))
        self.common, self.epsilon = np.zeros(games), np.zeros(shape)
        self.member = np.ones(shape, dtype=np.int8)
        self.share = np.zeros(shape)
        self.pool = np.full(games, self.config.money[1])
        self.participants = np.zeros(games)
        self.last_actions: Actions | None = None
        self._buffers = np.zeros((3, *shape))
        self._features = np.empty((games, n, len(FEATURES)))
        return self.observe()

    @property
    def over(self) -> bool:
        return self.round >= self.config.rounds

    def price(self, round_: int | None = None) -> Floats:
        """Of a round at full effort in ether, (games, organizations)."""
        who, config = self.organizations, self.config
        now = self.round if round_ is None else round_
        angle = 2 * math.pi * (now / config.rounds_per_day + who.phase)
        wave: Floats = who.price * (1.0 + config.energy_amplitude * np.sin(angle))
        return wave

    def observe(self) -> Floats:
        """What each organization sees before the round, float64 (games, organizations, features). The
        array is filled anew by the next call."""
        config, who = self.config, self.organizations
        _observe(
            self._features,
            self.member,
            self.participants,
            self.share,
            self.quality,
            who.price,
            who.phase,
            self.pool,
            self.epsilon,
            self.round / config.rounds_per_day,
            config.energy_amplitude,
            config.money[0],
            config.privacy_budget if config.private else 0.0,
        )
        return self._features

    def step(self, actions: Actions) -> Step:
        """`actions`: places in ACTIONS, int8 (games, organizations). Raises ValueError for another shape
        or an action that is not open, IndexError when the game is over."""
        if self.over:
            raise IndexError(f"the game ended after {self.config.rounds} rounds: reset it")
        if actions.shape != self._shape:
            raise ValueError(f"actions of shape {actions.shape}: expected {self._shape}")
        if actions.size and not 0 <= actions.min() <= actions.max() < self.open_actions:
            raise ValueError(f"an action is not within 0..{self.open_actions - 1}")
        config, who = self.config, self.organizations
        acted = actions.astype(np.int8)
        out = np.empty((5, *self._shape))
        _round(
            acted,
            who.size,
            who.accuracy,
            who.price,
            who.phase,
            who.value,
            who.conduct,
            self.own,
            self.given,
            self.quality,
            self.common,
            self.epsilon,
            self.member,
            self.share,
            self.pool,
            self.participants,
            self.keys,
            self._buffers,
            out,
            self._work,
            self._epsilons,
            self.round,
            _numbers(config),
        )
        self.round += 1
        self.last_actions = acted
        return Step(acted, *out)

    def clone(self) -> Self:
        """A game that goes on from here by itself."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(other, name, value.copy())
        return other


def _numbers(config: GameConfig) -> tuple[float, ...]:
    curve = config.curve
    return (
        float(RULES.index(config.reward_rule)),
        config.money[0],
        config.energy_amplitude,
        float(config.rounds_per_day),
        config.overlap,
        curve.ceiling,
        curve.scale,
        curve.shape,
        config.common_scale,
        config.privacy_price,
        config.privacy_budget if config.private else math.inf,
        config.withdrawal_rate,
        config.withdrawn_share,
        config.leave_rate,
        config.join_rate,
        config.evaluation_noise,
        config.evaluation_margin,
    )


@njit(cache=True)
def _key(seed: Any, episode: Any) -> Any:
    return mix(mix(np.uint64(0x52657363), seed), episode)


@njit(cache=True, inline="always")
def _known(work: float, shape: float) -> float:
    if shape == 1.0:
        return 1.0 - math.exp(-work)
    return 1.0 - math.exp(-(work**shape))


@njit(cache=True, inline="always")
def _wave(days: float, amplitude: float) -> float:
    """What energy costs at this time of the day, 1 on the mean."""
    return 1.0 + amplitude * math.sin(2 * math.pi * days) if amplitude > 0 else 1.0


@njit(cache=True, nogil=True)
def _observe(
    out: Any,
    member: Any,
    participants: Any,
    share: Any,
    quality: Any,
    price: Any,
    phase: Any,
    pool: Any,
    epsilon: Any,
    day: float,
    amplitude: float,
    reward: float,
    budget: float,
) -> None:
    games, n = share.shape
    for g in range(games):
        members = 0
        for i in range(n):
            members += member[g, i]
        available = min(reward, pool[g])
        for i in range(n):
            wave = _wave(day + phase[g, i], amplitude)
            out[g, i, 0] = members
            out[g, i, 1] = participants[g]
            out[g, i, 2] = share[g, i]
            out[g, i, 3] = quality[g, i]
            out[g, i, 4] = price[g, i] * wave
            out[g, i, 5] = available
            out[g, i, 6] = min(1.0, epsilon[g, i] / budget) if budget > 0 else 0.0


@njit(cache=True, nogil=True)
def _round(
    acted: Any,
    size: Any,
    accuracy: Any,
    price: Any,
    phase: Any,
    value: Any,
    conduct: Any,
    own: Any,
    given: Any,
    quality: Any,
    common: Any,
    epsilon: Any,
    member: Any,
    share: Any,
    pool: Any,
    participants: Any,
    keys: Any,
    buffers: Any,
    out: Any,
    work_of: Any,
    epsilon_of: Any,
    round_: int,
    numbers: Any,
) -> None:
    (
        rule,
        reward,
        amplitude,
        per_day,
        overlap,
        ceiling,
        scale,
        shape,
        common_scale,
        privacy_price,
        budget,
        withdrawal_rate,
        withdrawn_share,
        leave_rate,
        join_rate,
        sigma,
        margin,
    ) = numbers
    alone, marginal, score = buffers
    paid, compute, privacy, gain, scores = out
    games, n = own.shape
    for g in range(games):
        key = mix(keys[g], round_)
        count = 0
        for i in range(n):
            if member[g, i] == 0 or epsilon[g, i] >= budget:
                acted[g, i] = 0
            a = acted[g, i]
            how = conduct[g, i]
            work = work_of[a] * accuracy[g, i]
            wave = _wave(round_ / per_day + phase[g, i], amplitude)
            compute[g, i] = price[g, i] * wave * EFFORTS[a] * COST[how]
            spent = epsilon_of[a] * COST[how]
            epsilon[g, i] += spent
            privacy[g, i] = privacy_price * spent * FRACTIONS[a]
            common_work = overlap * size[g, i] * work
            accepted = a > 0 and ACCEPTED[how] == 1
            alone[g, i] = common_work * ALONE[how] if accepted else 0.0
            marginal[g, i] = common_work * MARGINAL[how] if accepted else 0.0
            count += accepted
            if MARGINAL[how] > 0:
                own[g, i] += work
            given[g, i] += marginal[g, i]
            common[g] += marginal[g, i]
        common[g] = max(0.0, common[g])
        participants[g] = count
        worths(int(rule), alone[g], marginal[g], n, common_scale, score[g])
        for i in range(n):
            if acted[g, i] == 0 or ACCEPTED[conduct[g, i]] == 0:
                score[g, i] = 0.0
            elif sigma > 0 and rule > 0:
                score[g, i] += sigma * normal(mix(mix(key, 1), i))
                if score[g, i] < margin * sigma:
                    score[g, i] = 0.0
        to_scores(score[g], n)
        total = 0.0
        for i in range(n):
            total += score[g, i]
        available = min(reward, pool[g])
        for i in range(n):
            scores[g, i] = score[g, i]
            share[g, i] = score[g, i] / total if total > 0 else 0.0
            paid[g, i] = available * share[g, i]
        if total > 0:
            pool[g] = max(0.0, pool[g] - available)
        chance = mix(key, 2)
        for i in range(n):
            if withdrawal_rate + leave_rate + join_rate > 0:
                dice = mix(chance, i)
                gone = 0.0
                if member[g, i] == 1:
                    if withdrawal_rate > 0 and uniform(mix(dice, 0)) < withdrawal_rate:
                        gone = withdrawn_share
                    if leave_rate > 0 and uniform(mix(dice, 1)) < leave_rate:
                        gone = 1.0
                        member[g, i] = 0
                elif uniform(mix(dice, 2)) < join_rate:
                    member[g, i] = 1
                if gone > 0:
                    common[g] = max(0.0, common[g] - gone * given[g, i])
                    given[g, i] *= 1.0 - gone
                    own[g, i] *= 1.0 - gone
        known = _known(common[g] / common_scale, shape)
        for i in range(n):
            before = quality[g, i]
            if member[g, i] == 1:
                mine = _known(own[g, i] / scale, shape)
                quality[g, i] = ceiling * ((1.0 - overlap) * mine + overlap * known)
            gain[g, i] = value[g, i] * (quality[g, i] - before)
