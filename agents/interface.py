"""The observations, actions and outcomes of a participation agent. docs/agents.md has details."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

OBSERVATION_VERSION = 2
"""Raised when the meaning of an observation changes: a policy of another version is refused."""


@dataclass(frozen=True)
class Action:
    """How much an organization takes part in a round. All 0 to sit out.

    Attributes:
        effort: Share of the agreed local steps.
        data_fraction: Share of the private data.
        noise: Noise beyond what the consortium agreed on; 1.0 doubles its multiplier.
    """

    effort: float
    data_fraction: float
    noise: float = 0.0

    @property
    def takes_part(self) -> bool:
        return self.effort > 0


SIT_OUT = Action(0.0, 0.0)
ACTIONS: tuple[Action, ...] = (
    SIT_OUT,
    Action(0.5, 0.5),
    Action(0.5, 1.0),
    Action(1.0, 0.5),
    Action(1.0, 1.0),
    Action(0.5, 0.5, 1.0),
    Action(0.5, 1.0, 1.0),
    Action(1.0, 0.5, 1.0),
    Action(1.0, 1.0, 1.0),
)
"""Those without more noise first, in order of cost: where no privacy was agreed on, only they are open."""

FULL = 4
"""The place in ACTIONS of taking part with everything and no more noise than was agreed on."""


EFFORTS, FRACTIONS, NOISES = np.array(
    [(a.effort, a.data_fraction, a.noise) for a in ACTIONS], dtype=np.float64
).T.copy()
"""The levels of ACTIONS, each (actions,)."""


def open_actions(*, private: bool) -> int:
    """How many of ACTIONS, from the first, an organization may choose from."""
    return len(ACTIONS) if private else FULL + 1


@dataclass(frozen=True)
class Observation:
    """A node's view before it decides: the chain and its own costs. Shares and quality are from 0 to 1.

    Attributes:
        compute_price: Cost of a round at full effort now, in ether.
        reward_available: Ether that the contract will share out in this round.
        privacy_spent: Used share of the organization's privacy budget.
        private: Whether the consortium's rounds are private.
    """

    round_index: int
    members: int
    participants_last_round: int
    reward_share_last_round: float
    quality: float
    compute_price: float
    reward_available: float = 1.0
    privacy_spent: float = 0.0
    private: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def features(self) -> NDArray[np.float64]:
        """As policies take it, float64 (7,): FEATURES in their order."""
        return np.array([float(getattr(self, name)) for name in FEATURES])


FEATURES = tuple(
    field.name for field in fields(Observation) if field.name not in ("round_index", "private")
)


@dataclass(frozen=True)
class Outcome:
    """The result of a round, in ether. The node's configuration values the gain in quality."""

    paid_reward: float
    compute_cost: float
    privacy_cost: float
    quality_gain: float

    @property
    def reward(self) -> float:
        return self.paid_reward - self.compute_cost - self.privacy_cost + self.quality_gain


@dataclass(frozen=True)
class Decision:
    """An action with its reason and the values that led to it."""

    action: Action
    why: str
    explored: bool
    values: tuple[float, ...] = ()


class Agent(Protocol):
    """Decides round by round, and may learn from the outcomes."""

    def decide(self, observation: Observation, round_id: int) -> Decision:
        """Return a decision; the same for the same observation and round."""
        ...

    def learn(
        self,
        round_id: int,
        before: Observation,
        action: Action,
        outcome: Outcome,
        after: Observation,
    ) -> None:
        """Rounds that were learned from already are ignored."""
        ...
