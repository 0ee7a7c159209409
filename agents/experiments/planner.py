"""The oracle of social welfare: how much a planner would have each organization train.

Welfare is the value of what all models know at the end, less what it cost; pay moves money and makes none.
It is concave in the rounds m_i that each organization trains, in the cheapest of its rounds. Given the
common knowledge C, one more unit of it is worth lambda(C) to everybody together, and each organization's
best m_i follows alone; the C that they bring about falls as C rises, so bisection finds the fixed point.
Chance (withdrawals, leaving) is left out of the plan, and not of its evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.core import Floats, Game
from agents.game import FULL
from agents.world import CONDUCTS

_STEPS = 60


def planned(game: Game) -> NDArray[np.int8]:
    """Actions of every round, int8 (rounds, games, organizations)."""
    config = game.config
    prices = np.stack([game.price(round_) for round_ in range(config.rounds)])
    order = prices.argsort(axis=0, kind="stable")
    costs = np.take_along_axis(prices, order, axis=0)
    if config.private:
        costs = costs + config.privacy_price * config.round_epsilon
        over = np.arange(1, config.rounds + 1) > np.ceil(
            config.privacy_budget / max(config.round_epsilon, 1e-12)
        )
        costs[over] = np.inf
    total = np.concatenate([np.zeros((1, *costs.shape[1:])), costs.cumsum(axis=0)])
    many = _rounds(game, total)
    actions = np.zeros(prices.shape, dtype=np.int8)
    chosen = np.where(np.arange(config.rounds)[:, None, None] < many, FULL, 0)
    np.put_along_axis(actions, order, chosen.astype(np.int8), axis=0)
    return actions


def planned_welfare(game: Game, episodes: int, first_episode: int) -> Floats:
    """Of the plan, played out, mean over the episodes: float64 (games,)."""
    actions = planned(game)
    total = np.zeros(game.seeds.size)
    for episode in range(episodes):
        game.reset(first_episode + episode)
        for chosen in actions:
            step = game.step(chosen)
            total += (step.reward - step.paid).sum(axis=1)
    return total / episodes


def _rounds(game: Game, cost: Floats) -> NDArray[np.int64]:
    """m (games, organizations) from `cost` (rounds + 1, games, organizations) of training m rounds."""
    config, who = game.config, game.organizations
    honest = who.conduct == CONDUCTS.index("honest")
    times = np.arange(config.rounds + 1)[:, None, None]
    own = (
        config.curve.ceiling
        * (1.0 - config.overlap)
        * who.value
        * (1.0 - np.exp(-who.accuracy * times / config.curve.scale))
    ) - cost
    brings = config.overlap * who.size * who.accuracy * honest
    together, scale = who.value.sum(axis=1), config.common_scale

    def best(common: Floats) -> NDArray[np.int64]:
        worth = together * config.curve.ceiling * config.overlap * np.exp(-common / scale) / scale
        found: NDArray[np.int64] = (own + times * worth[:, None] * brings).argmax(axis=0)
        return np.where(honest, found, 0)

    low, high = np.zeros(game.seeds.size), brings.sum(axis=1) * config.rounds
    for _ in range(_STEPS):
        middle = (low + high) / 2
        more = (best(middle) * brings).sum(axis=1) > middle
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return best(high)
