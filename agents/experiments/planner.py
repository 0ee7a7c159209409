"""The welfare planner: how much each organization trains in a plan for social welfare.

Welfare is the value of what all models know at the end, less its cost. Pay only moves money, so it
does not count. The plan is found in three steps:

1. Each organization's rounds are sorted by price for each unit of work that is expected to remain
   at the end; withdrawals and leaving take their share. An organization that trains m rounds trains
   the first m of this order.
2. For a price lambda of common knowledge, the best m of each organization does not depend on the
   others, and is found by trying all.
3. Of the plans that a range of prices gives, the one with the most welfare is taken (Everett 1963,
   Operations Research 11(3): each is the best plan with as much common knowledge).

Statistics are cheap, and all members gain from them: in the plan each posts its own in the first
round, and where rows or members can be lost, again in each round that it trains.

The plan uses expectations only; its evaluation plays it out with chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rescind.agents.chain_terms import CLAIM, ETHER_IN_GWEI, gas_of
from rescind.agents.game import Floats, Game
from rescind.agents.interface import ACTIONS, FULL, SIT_OUT
from rescind.agents.world import CONDUCTS, GameConfig

_PRICES = 120
"""Number of prices of common knowledge that are tried, evenly spaced on a logarithmic scale."""


def planned(game: Game) -> NDArray[np.int8]:
    """Return the plan's actions of every round, int8 (rounds, games, organizations)."""
    config = game.config
    fees = _fees_of_training(config)
    prices = np.stack([game.price(round_) for round_ in range(config.rounds)]) + fees
    kept = np.broadcast_to(_kept(config)[:, None, None], prices.shape)
    # 1e-12 keeps the division finite where nothing is expected to remain.
    order = (prices / np.maximum(kept, 1e-12)).argsort(axis=0, kind="stable")
    costs = np.take_along_axis(prices, order, axis=0)
    work = np.take_along_axis(kept, order, axis=0).cumsum(axis=0)
    work = np.concatenate([np.zeros((1, *work.shape[1:])), work])
    if config.private:
        costs = costs + config.privacy_price * config.round_epsilon
        # Rounds beyond the budget cost without bound. The round that crosses it is still played, as
        # in the game, which compares before the round.
        over = np.arange(1, config.rounds + 1) > np.ceil(
            config.privacy_budget / max(config.round_epsilon, 1e-12)
        )
        costs[over] = np.inf
    total = np.concatenate([np.zeros((1, *costs.shape[1:])), costs.cumsum(axis=0)])
    rounds = _rounds(game, total, work)
    actions = np.zeros(prices.shape, dtype=np.int8)
    chosen = np.where(np.arange(config.rounds)[:, None, None] < rounds, FULL, 0)
    np.put_along_axis(actions, order, chosen.astype(np.int8), axis=0)
    if config.statistics is not None:
        posts = np.zeros(actions.shape, dtype=bool)
        posts[0] = game.organizations.conduct == CONDUCTS.index("honest")
        if config.withdrawal_rate + config.leave_rate > 0:
            posts |= actions > 0
        actions[posts] += game.open_actions // 2
    return actions


def _fees_of_training(config: GameConfig) -> float:
    """Return what training costs in transactions beyond sitting out, in ether."""
    statistics = config.statistics is not None
    full, out = (gas_of(action, two_parts=statistics)[0] for action in (ACTIONS[FULL], SIT_OUT))
    return (full + CLAIM - out) * config.gas_price / ETHER_IN_GWEI


def planned_welfare(game: Game, episodes: int, first_episode: int) -> Floats:
    """Play the plan and return its welfare in ether, the mean over the episodes.

    Args:
        game: The game; it is reset.
        episodes: Number of episodes.
        first_episode: Number of the first episode, which decides its random events.

    Returns:
        float64 (games,).
    """
    actions = planned(game)
    total = np.zeros(game.seeds.size)
    for episode in range(episodes):
        game.reset(first_episode + episode)
        for chosen in actions:
            step = game.step(chosen)
            total += (step.reward - step.paid).sum(axis=1)
    return total / episodes


def _kept(config: GameConfig) -> Floats:
    """Return the share of each round's work that is expected to remain at the end, (rounds,)."""
    keeps = (1.0 - config.withdrawal_rate * config.withdrawn_share) * (1.0 - config.leave_rate)
    return np.asarray(keeps ** np.arange(config.rounds, 0, -1))


def _rounds(game: Game, cost: Floats, work: Floats) -> NDArray[np.int64]:
    """Return how many rounds each organization trains, int64 (games, organizations).

    Args:
        game: The game.
        cost: Cost of training m rounds, in ether, (rounds + 1, games, organizations).
        work: Expected work of training m rounds, same shape.
    """
    config, organizations, curve = game.config, game.organizations, game.config.curve
    honest = organizations.conduct == CONDUCTS.index("honest")
    own_share = curve.reached(organizations.accuracy * work)
    own = curve.ceiling * (1.0 - config.overlap) * organizations.value * own_share - cost
    contribution = config.overlap * organizations.size * organizations.accuracy
    common_value = curve.ceiling * config.overlap * organizations.value.sum(axis=1)
    best_rounds = np.zeros(honest.shape, dtype=np.int64)
    best_welfare = np.full(game.seeds.size, -np.inf)
    unit = common_value / config.common_scale
    # The price is in units of the common knowledge's value for each round of its scale.
    for price in (0.0, *np.geomspace(1e-3, 1e2, _PRICES)):
        worth = own + work * (price * unit)[:, None] * contribution
        rounds = np.where(honest, worth.argmax(axis=0), 0)
        trained = np.take_along_axis(work, rounds[None], axis=0)[0]
        common = (trained * contribution).sum(axis=1)
        welfare = np.take_along_axis(own, rounds[None], axis=0)[0].sum(axis=1)
        welfare = welfare + common_value * curve.reached(common, config.common_scale)
        # Games are independent: each keeps the plan of its own best price.
        better = welfare > best_welfare
        best_rounds[better], best_welfare[better] = rounds[better], welfare[better]
    return best_rounds
