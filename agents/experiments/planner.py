"""The oracle of social welfare: how much a planner would have each organization train.

Welfare is the value of what all models know at the end, less what it cost; pay moves money and makes none.
An organization trains m rounds, those that are cheapest for what is expected to be left of them at the end
(withdrawals and leaving take their share). For a price lambda of common knowledge, the
best m of each organization is found alone, by trying all; of the plans that a range of prices gives, the one with the most
welfare is taken (Everett 1963, Operations Research 11(3): each of them is the best plan with as much common
knowledge). Beyond that expectation chance is left out of the plan, and not of its evaluation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rescind.agents.game import Floats, Game
from rescind.agents.interface import FULL
from rescind.agents.world import CONDUCTS, GameConfig

_PRICES = 120


def planned(game: Game) -> NDArray[np.int8]:
    """Actions of every round, int8 (rounds, games, organizations)."""
    config = game.config
    prices = np.stack([game.price(round_) for round_ in range(config.rounds)])
    kept = np.broadcast_to(_kept(config)[:, None, None], prices.shape)
    order = (prices / np.maximum(kept, 1e-12)).argsort(axis=0, kind="stable")
    costs = np.take_along_axis(prices, order, axis=0)
    work = np.take_along_axis(kept, order, axis=0).cumsum(axis=0)
    work = np.concatenate([np.zeros((1, *work.shape[1:])), work])
    if config.private:
        costs = costs + config.privacy_price * config.round_epsilon
        over = np.arange(1, config.rounds + 1) > np.ceil(
            config.privacy_budget / max(config.round_epsilon, 1e-12)
        )
        costs[over] = np.inf
    total = np.concatenate([np.zeros((1, *costs.shape[1:])), costs.cumsum(axis=0)])
    many = _rounds(game, total, work)
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


def _kept(config: GameConfig) -> Floats:
    """Share of each round's work that is expected to be left at the end, (rounds,)."""
    keeps = (1.0 - config.withdrawal_rate * config.withdrawn_share) * (1.0 - config.leave_rate)
    return np.asarray(keeps ** np.arange(config.rounds, 0, -1))


def _rounds(game: Game, cost: Floats, work: Floats) -> NDArray[np.int64]:
    """m (games, organizations) from `cost` and expected `work` of training m rounds, both (rounds + 1,
    games, organizations)."""
    config, who, curve = game.config, game.organizations, game.config.curve
    honest = who.conduct == CONDUCTS.index("honest")
    mine = curve.known(who.accuracy * work)
    own = curve.ceiling * (1.0 - config.overlap) * who.value * mine - cost
    brings = config.overlap * who.size * who.accuracy
    together = curve.ceiling * config.overlap * who.value.sum(axis=1)
    best = np.zeros(honest.shape, dtype=np.int64)
    most = np.full(game.seeds.size, -np.inf)
    unit = together / config.common_scale
    for price in (0.0, *np.geomspace(1e-3, 1e2, _PRICES)):
        worth = own + work * (price * unit)[:, None] * brings
        many = np.where(honest, worth.argmax(axis=0), 0)
        done = np.take_along_axis(work, many[None], axis=0)[0]
        common = (done * brings).sum(axis=1)
        welfare = np.take_along_axis(own, many[None], axis=0)[0].sum(axis=1)
        welfare = welfare + together * curve.known(common, config.common_scale)
        better = welfare > most
        best[better], most[better] = many[better], welfare[better]
    return best
