"""Kernels of the participation game: what an organization sees, and the six steps of a round.

`rescind.agents.game` states the steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rescind.agents.counter_random import mix, normal, uniform
from rescind.agents.game_state import Floats, Parameters, Scratch, State, Step
from rescind.agents.payout import SHAPLEY, to_scores, worths
from rescind.agents.world import (
    ACCEPTED,
    ALONE,
    COST,
    MARGINAL,
    POSTED,
    Organizations,
)

# Branches of a round's random key: one for each step that draws, so that no draw is used twice.
_SCORE_DRAWS, _CHURN_DRAWS, _REVEAL_DRAWS = 1, 2, 3
# First word of every game's key; any constant will do, but changing it changes all results.
_KEY_START = np.uint64(0x52657363)


@njit(cache=True)
def key_of(seed: Any, episode: Any) -> Any:
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
def observe(
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
    posted, size = state.posted, organizations.size
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
            rows = posted[g, i] / size[g, i] if parameters.statistics > 0 else 0.0
            out[g, i, 7] = min(1.0, max(0.0, rows))


# Each step is a kernel of its own that goes through all games: calling a step for one game at a
# time costs a third of the speed of games of ten, in reference counts of the arrays in the named
# tuples. For the same reason those arrays are taken out of the tuples before the loops.


@njit(cache=True, nogil=True)
def play_round(
    step: Step,
    organizations: Organizations,
    state: State,
    scratch: Scratch,
    parameters: Parameters,
    keys: NDArray[np.uint64],
    round_: int,
) -> None:
    """Play a round of all games: the six steps of the module's docstring, in their order."""
    _spend(step, organizations, state, scratch, parameters, keys, round_)
    _work(step, organizations, state, scratch, parameters)
    if parameters.statistics > 0:
        _post(step, organizations, state, scratch, parameters)
    _score(step, scratch, parameters, keys, round_)
    _pay(step, state, parameters)
    _churn(state, parameters, keys, round_)
    _know(step, organizations, state, parameters)


@njit(cache=True, nogil=True)
def _spend(
    step: Step,
    organizations: Organizations,
    state: State,
    scratch: Scratch,
    p: Parameters,
    keys: NDArray[np.uint64],
    round_: int,
) -> None:
    """Step 1: correct the actions to what can be carried out, and charge what they cost."""
    acted, compute, privacy, fees = step.acted, step.compute, step.privacy, step.fees
    price, phase, conducts = organizations.price, organizations.phase, organizations.conduct
    member, epsilon, epsilon_of = state.member, state.epsilon, p.epsilon
    effort, fraction, posts, gas = p.effort, p.fraction, p.posts, p.gas
    accepted, pool, forfeited = scratch.accepted, state.pool, step.forfeited
    day = round_ / p.rounds_per_day
    games, n = acted.shape
    for g in range(games):
        key = mix(mix(keys[g], round_), _REVEAL_DRAWS)
        for i in range(n):
            # Compared before the round: the round that crosses the budget is still played.
            if member[g, i] == 0 or epsilon[g, i] >= p.privacy_budget:
                acted[g, i] = 0
            a, conduct = acted[g, i], conducts[g, i]
            cost = COST[conduct]
            wave = _wave(day + phase[g, i], p.energy_amplitude)
            # A cheat that does not train spends neither compute nor privacy.
            trained, posted = effort[a] * cost, posts[a] * cost
            compute[g, i] = price[g, i] * wave * (trained + p.statistics_price * posted)
            spent, once = epsilon_of[a] * cost, p.statistics_epsilon * posted
            epsilon[g, i] += spent + once
            privacy[g, i] = p.privacy_price * (spent * fraction[a] + once)
            accepted[g, i] = a > 0 and ACCEPTED[conduct] == 1
            fees[g, i] = gas[a] + p.capital if member[g, i] == 1 else 0.0
            # A rate of 0 skips its draw, which would cost time and change nothing.
            if p.unrevealed_rate > 0 and a > 0 and uniform(mix(key, i)) < p.unrevealed_rate:
                accepted[g, i] = 0
                fees[g, i] += p.early_gas[a] - gas[a] + p.penalty
                pool[g] += p.penalty
                forfeited[g] += p.penalty


@njit(cache=True, nogil=True)
def _work(
    step: Step, organizations: Organizations, state: State, scratch: Scratch, p: Parameters
) -> None:
    """Step 2: add the round's work to what is known, and note what each update is worth."""
    acted, accuracy, size = step.acted, organizations.accuracy, organizations.size
    conducts, work_of = organizations.conduct, p.work
    own, given, common = state.own, state.given, state.common
    alone, marginal, participants = scratch.alone, scratch.marginal, state.participants
    accepted = scratch.accepted
    games, n = acted.shape
    for g in range(games):
        accepted_updates = 0
        for i in range(n):
            a, conduct = acted[g, i], conducts[g, i]
            # An update that was not accepted is in no model, so that nothing is learned from it.
            work = work_of[a] * accuracy[g, i] * accepted[g, i]
            common_work = p.overlap * size[g, i] * work
            alone[g, i] = common_work * ALONE[conduct]
            marginal[g, i] = common_work * MARGINAL[conduct]
            accepted_updates += accepted[g, i]
            # Only those who really train learn from their own data.
            if MARGINAL[conduct] > 0:
                own[g, i] += work
            given[g, i] += marginal[g, i]
            common[g] += marginal[g, i]
        # Sign-flipped updates take knowledge away, but never more than there is.
        common[g] = max(0.0, common[g])
        participants[g] = accepted_updates


@njit(cache=True, nogil=True)
def _post(
    step: Step, organizations: Organizations, state: State, scratch: Scratch, p: Parameters
) -> None:
    """Step 2 for statistics: replace earlier ones, and note what of that is paid."""
    acted, accuracy, size = step.acted, organizations.accuracy, organizations.size
    conducts, posts, posted = organizations.conduct, p.posts, state.posted
    added, accepted, credited = scratch.posted, scratch.accepted, state.credited
    games, n = acted.shape
    for g in range(games):
        for i in range(n):
            added[g, i] = 0.0
            if accepted[g, i] == 1 and posts[acted[g, i]] > 0:
                rows = size[g, i] * accuracy[g, i] * POSTED[conducts[g, i]]
                # Rows that come back after a withdrawal answer what was answered before: the
                # aggregator pays a question once, see rescind.aggregator.statistics_scoring.
                if rows > credited[g, i]:
                    added[g, i] = rows - credited[g, i]
                    credited[g, i] = rows
                else:
                    added[g, i] = min(0.0, rows - posted[g, i])
                posted[g, i] = rows


@njit(cache=True, nogil=True)
def _score(
    step: Step, scratch: Scratch, p: Parameters, keys: NDArray[np.uint64], round_: int
) -> None:
    """Step 3: value the accepted updates by the reward rule, with noise, and score the values."""
    score, noise, accepted = step.score, p.evaluation_noise, scratch.accepted
    alone, marginal, worth = scratch.alone, scratch.marginal, scratch.worth
    posted, acted, effort = scratch.posted, step.acted, p.effort
    games, n = score.shape
    for g in range(games):
        key = mix(mix(keys[g], round_), _SCORE_DRAWS)
        worths(p.rule, alone[g], marginal[g], n, p.common_scale, score[g])
        # Rule 0, equal pay, evaluates nothing.
        if p.statistics > 0 and p.rule > 0:
            # As the aggregator does with every evaluation.method: alone, rows that the sum holds
            # already would seem as good as new ones. The values in `alone` are used up.
            worths(SHAPLEY, alone[g], posted[g], n, p.statistics_scale, worth[g])
            for i in range(n):
                score[g, i] += p.statistics * (worth[g, i] - score[g, i])
        for i in range(n):
            if accepted[g, i] == 0:
                score[g, i] = 0.0
            elif noise > 0 and p.rule > 0:
                # Statistics that add nothing leave every sum as it was: no chance pays them.
                if effort[acted[g, i]] == 0 and posted[g, i] <= 0:
                    score[g, i] = 0.0
                    continue
                score[g, i] += noise * normal(mix(key, i))
                if score[g, i] < p.evaluation_margin * noise:
                    score[g, i] = 0.0
        to_scores(score[g], n)


@njit(cache=True, nogil=True)
def _pay(step: Step, state: State, p: Parameters) -> None:
    """Step 4: divide the round's reward by the scores, as Rewards.sol does."""
    score, paid, share, pool, fees = step.score, step.paid, state.share, state.pool, step.fees
    games, n = score.shape
    for g in range(games):
        total = 0.0
        for i in range(n):
            total += score[g, i]
        available = min(p.reward, pool[g])
        for i in range(n):
            share[g, i] = score[g, i] / total if total > 0 else 0.0
            paid[g, i] = available * share[g, i]
            if paid[g, i] > 0:
                fees[g, i] += p.claim
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
    posted = state.posted
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
                posted[g, i] *= 1.0 - removed


@njit(cache=True, nogil=True)
def _know(step: Step, organizations: Organizations, state: State, p: Parameters) -> None:
    """Step 6: quality from own and common knowledge. Those who left keep the quality they had."""
    own, common, quality, member = state.own, state.common, state.quality, state.member
    gain, value, posted = step.gain, organizations.value, state.posted
    games, n = own.shape
    for g in range(games):
        # All members serve the same common knowledge, so its share is computed once for a game.
        common_share = _reached(common[g] / p.common_scale, p.shape)
        if p.statistics > 0:
            rows = 0.0
            for i in range(n):
                rows += posted[g, i]
            # Swapped labels take away what others' rows tell, but never more than there is.
            learned = _reached(max(0.0, rows) / p.statistics_scale, p.statistics_shape)
            common_share += p.statistics * (learned - common_share)
        for i in range(n):
            before = quality[g, i]
            if member[g, i] == 1:
                own_part = (1.0 - p.overlap) * _reached(own[g, i] / p.scale, p.shape)
                quality[g, i] = p.ceiling * (own_part + p.overlap * common_share)
            gain[g, i] = value[g, i] * (quality[g, i] - before)
