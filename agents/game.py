"""What a participation agent sees, does and earns. docs/agents.md states it in full."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Action:
    """Share of the agreed local steps, and share of the private data; both 0 to sit out."""

    effort: float
    data_fraction: float

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
)
"""In order of cost; neighbours are one level apart."""


@dataclass(frozen=True)
class Observation:
    """Only what a node can see: the chain, and its own costs. Shares and quality are 0..1.

    `compute_price`: cost of one round at full effort, in ether.
    """

    round_index: int
    members: int
    participants_last_round: int
    reward_share_last_round: float
    quality: float
    compute_price: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What a round brought, all in ether; the gain in quality is valued by the node."""

    paid_reward: float
    compute_cost: float
    privacy_cost: float
    quality_gain: float

    @property
    def reward(self) -> float:
        return self.paid_reward - self.compute_cost - self.privacy_cost + self.quality_gain


@dataclass(frozen=True)
class Decision:
    action: Action
    why: str
    explored: bool
    values: tuple[float, ...] = ()


class Agent(Protocol):
    def decide(self, observation: Observation, round_id: int) -> Decision:
        """The same observation and round give the same decision."""
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
