"""Myopic best response: the action that the next round alone pays best, as far as a node can tell.

Pay: the organizations that took part last share the reward with this one; a smaller update earns a smaller
share. Gain: what one round of the agreed curve adds to its quality. Later rounds count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rescind.agents.curves import LearningCurve
from rescind.agents.interface import (
    EFFORTS,
    FRACTIONS,
    NOISES,
)
from rescind.agents.learners.base import (
    N_AVAILABLE,
    N_PARTICIPANTS,
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
    """`quality_value`, `privacy_price`: the node's own, in ether. `round_epsilon`: of a full round."""

    quality_value: float = 0.5
    privacy_price: float = 0.0
    round_epsilon: float = 0.0
    curve: LearningCurve = field(default_factory=LearningCurve)


@register("myopic", MyopicConfig)
class Myopic(Memoryless):
    name = "myopic"

    def __init__(self, config: MyopicConfig) -> None:
        self.config = config

    def choose(self, features: Floats, round_: int, *, explore: bool) -> Actions:  # noqa: ARG002
        best: Actions = self.values(features).argmax(axis=-1).astype(np.int8)
        return best

    def values(self, features: Floats) -> Floats:
        config, curve = self.config, self.config.curve
        open_ = slice(self._place.open_actions)
        effort, fraction, noise = EFFORTS[open_], FRACTIONS[open_], NOISES[open_]
        work = curve.work(effort, fraction, noise)
        seen = features[..., None]
        took_part = seen[..., N_SHARE, :] > 0
        others = np.maximum(0.0, seen[..., N_PARTICIPANTS, :] - took_part)
        pay = seen[..., N_AVAILABLE, :] * work / (work + others + 1e-12)
        quality = np.minimum(seen[..., N_QUALITY, :], curve.ceiling * (1 - 1e-9))
        known = (-np.log1p(-quality / curve.ceiling)) ** (1 / curve.shape) * curve.scale
        then = curve.ceiling * curve.known(known + work)
        gain = config.quality_value * np.maximum(0.0, then - quality)
        epsilon = epsilon_by_action(config.round_epsilon)[open_]
        cost = effort * seen[..., N_PRICE, :] + config.privacy_price * epsilon * fraction
        barred = np.where((seen[..., N_SPENT, :] >= 1) & (effort > 0), 1e30, 0.0)
        return np.asarray(pay + gain - cost - barred)
