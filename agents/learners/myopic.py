"""Myopic best response: the action with the best value in the next round alone.

The value is estimated from what a node can see. Pay: the organizations that took part in the last
round share the reward with this one, in proportion to work. Gain: what one round of the agreed
curve adds to the organization's quality. Statistics that are not posted yet count as work, by the
share of the questions that they answer. Later rounds are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rescind.agents.curves import LearningCurve
from rescind.agents.interface import levels_of
from rescind.agents.learners.base import (
    N_AVAILABLE,
    N_MEMBERS,
    N_PARTICIPANTS,
    N_POSTED,
    N_PRICE,
    N_QUALITY,
    N_SHARE,
    N_SPENT,
    Actions,
    Floats,
    Memoryless,
)
from rescind.agents.learners.registry import register
from rescind.agents.privacy import epsilon_by_action


@dataclass(frozen=True)
class MyopicConfig:
    """The knowledge of an organization about its own costs and gains.

    Attributes:
        quality_value: Value of a model that answers all questions, in ether.
        privacy_price: Cost of one unit of epsilon for all of its data, in ether.
        round_epsilon: Epsilon that a full round spends.
        curve: The agreed learning curve.
        statistics_share: Share of all questions that heads answer from statistics.
        statistics_price: Cost of posting, as a share of the cost of a round at full effort.
        statistics_epsilon: Epsilon that posting spends.
    """

    quality_value: float = 0.5
    privacy_price: float = 0.0
    round_epsilon: float = 0.0
    curve: LearningCurve = field(default_factory=LearningCurve)
    statistics_share: float = 0.0
    statistics_price: float = 0.0
    statistics_epsilon: float = 0.0


@register("myopic", MyopicConfig)
class Myopic(Memoryless):
    """The myopic best response.

    Args:
        config: What the organization knows.
    """

    name = "myopic"

    def __init__(self, config: MyopicConfig) -> None:
        self.config = config

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        best: Actions = self.values(features).argmax(axis=-1).astype(np.int8)
        return best

    def values(self, features: Floats) -> Floats:
        config, curve = self.config, self.config.curve
        levels = levels_of(self._seating.open_actions)
        effort, fraction, posts = (levels[n] for n in ("effort", "data_fraction", "statistics"))
        work = curve.work(effort, fraction, levels["noise"])
        seen = features[..., None]
        share = config.statistics_share
        new_rows = posts * (1.0 - seen[..., N_POSTED, :])
        counted = (1.0 - share) * work + share * new_rows
        took_part = seen[..., N_SHARE, :] > 0
        others = np.maximum(0.0, seen[..., N_PARTICIPANTS, :] - took_part)
        # 1e-12 keeps the division finite for sitting out alone.
        pay = seen[..., N_AVAILABLE, :] * counted / (counted + others + 1e-12)
        # Work so far, from the inverse of the curve; just below the ceiling, where it has no
        # inverse.
        quality = np.minimum(seen[..., N_QUALITY, :], curve.ceiling * (1 - 1e-9))
        done = (-np.log1p(-quality / curve.ceiling)) ** (1 / curve.shape) * curve.scale
        expected = curve.ceiling * curve.reached(done + work)
        gain = (1.0 - share) * np.maximum(0.0, expected - quality)
        # All members' rows answer these questions together; this organization's are its part.
        gain = gain + share * new_rows / np.maximum(1.0, seen[..., N_MEMBERS, :])
        epsilon = epsilon_by_action(self._seating.open_actions, config.round_epsilon)
        spent = epsilon * fraction + config.statistics_epsilon * posts
        compute = (effort + config.statistics_price * posts) * seen[..., N_PRICE, :]
        cost = compute + config.privacy_price * spent
        # Without budget only sitting out is possible; 1e30 is above any ether, and finite for JSON.
        barred = np.where((seen[..., N_SPENT, :] >= 1) & (effort + posts > 0), 1e30, 0.0)
        return np.asarray(pay + config.quality_value * gain - cost - barred)
