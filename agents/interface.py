"""The observations, actions and outcomes of a participation agent. docs/agents.md has details."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

OBSERVATION_VERSION = 3
"""Raised when the meaning of an observation changes: a policy of another version is refused."""


@dataclass(frozen=True)
class Action:
    """How much an organization takes part in a round. All 0 to sit out.

    Attributes:
        effort: Share of the agreed local steps.
        data_fraction: Share of the private data.
        noise: Noise beyond what the consortium agreed on; 1.0 doubles its multiplier.
        statistics: Share of the rows whose statistics are posted. 0 posts none.
    """

    effort: float
    data_fraction: float
    noise: float = 0.0
    statistics: float = 0.0

    @property
    def takes_part(self) -> bool:
        """True unless the organization sits out."""
        return self.effort > 0 or self.statistics > 0


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
"""All actions that post no statistics in order of cost, those without extra noise first.

Where no privacy was agreed on, only the actions without extra noise are open. Where statistics were
agreed on, each open action can also be taken with statistics.
"""

FULL = 4
"""Index in ACTIONS of full effort on all data without extra noise, and in every set of actions."""


def _with_statistics(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    return (*actions, *(replace(action, statistics=1.0) for action in actions))


_PLAIN = ACTIONS[: FULL + 1]
_SETS = {
    len(actions): actions
    for actions in (_PLAIN, ACTIONS, _with_statistics(_PLAIN), _with_statistics(ACTIONS))
}
"""The sets of actions by their size: 5, 9, 10 and 18. A set is known by its size."""

_MOST = max(_SETS)


def open_actions(*, private: bool, statistics: bool = False) -> int:
    """Return the size of the set of actions that an organization may choose from.

    Args:
        private: Whether rounds are private, which opens the actions with extra noise.
        statistics: Whether statistics were agreed on, which opens each action with them.
    """
    return (len(ACTIONS) if private else len(_PLAIN)) * (2 if statistics else 1)


def actions_of(size: int) -> tuple[Action, ...]:
    """Return the set of actions of a size, one that `open_actions` returns.

    In a set with statistics, the second half is the first half with them.

    Raises:
        ValueError: No set has this size.
    """
    if size not in _SETS:
        raise ValueError(f"no set has {size} actions. The sizes are {', '.join(map(str, _SETS))}")
    return _SETS[size]


def levels_of(size: int) -> dict[str, NDArray[np.float64]]:
    """Return the levels of a set of actions by name, each float64 (actions,)."""
    names = [field.name for field in fields(Action)]
    return {name: np.array([getattr(a, name) for a in actions_of(size)]) for name in names}


def _padded(name: str) -> NDArray[np.float64]:
    table = np.zeros((_MOST + 1, _MOST))
    for size in _SETS:
        table[size, :size] = levels_of(size)[name]
    return table


EFFORTS, FRACTIONS, NOISES, POSTS = (_padded(field.name) for field in fields(Action))
"""Levels by the size of the set and the index of the action, for kernels; 0 where there is none."""

HAS_STATISTICS: NDArray[np.bool_] = np.asarray(POSTS.any(axis=1))
"""By the size of a set: whether its second half is the first half with statistics."""


@dataclass(frozen=True)
class Observation:
    """The view of a node before it decides: the chain, and its own quality and costs.

    Attributes:
        round_index: The round's number.
        members: Number of members.
        participants_last_round: How many took part in the last round.
        reward_share_last_round: The node's share of the last round's reward, 0 to 1.
        quality: Share of its own questions that its model answers right, 0 to 1.
        compute_price: Cost of a round at full effort now, in ether.
        reward_available: Ether that the contract will share out in this round.
        privacy_spent: Used share of the organization's privacy budget, 0 to 1.
        statistics_posted: Share of its rows whose statistics the newest model holds, 0 to 1.
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
    statistics_posted: float = 0.0
    private: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the observation as JSON-compatible values."""
        return asdict(self)

    def features(self) -> NDArray[np.float64]:
        """Return FEATURES in their order, as policies take them, float64 (8,)."""
        return np.array([float(getattr(self, name)) for name in FEATURES])


FEATURES = tuple(
    field.name for field in fields(Observation) if field.name not in ("round_index", "private")
)
"""Fields of an observation that policies decide by, in order."""


@dataclass(frozen=True)
class Outcome:
    """The result of a round for one organization, in ether.

    Attributes:
        paid_reward: Pay by the contract.
        compute_cost: Cost of the training.
        privacy_cost: Cost of the epsilon that was spent.
        quality_gain: Value of the change in quality, by the node's configuration.
        chain_cost: Cost of transactions and of a penalty.
    """

    paid_reward: float
    compute_cost: float
    privacy_cost: float
    quality_gain: float
    chain_cost: float = 0.0

    @property
    def reward(self) -> float:
        """The value of the round to the organization, in ether."""
        costs = self.compute_cost + self.privacy_cost + self.chain_cost
        return self.paid_reward - costs + self.quality_gain


@dataclass(frozen=True)
class Decision:
    """An action with its reason.

    Attributes:
        action: The action.
        why: The reason, for the ledger.
        explored: Whether it differs from the best action in order to explore.
        values: Expected value of each open action, in ether; empty for policies without values.
    """

    action: Action
    why: str
    explored: bool
    values: tuple[float, ...] = ()


class Agent(Protocol):
    """A policy of one node, which may learn from the outcomes of its rounds."""

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
        """Learn from a finished round; ignore rounds already learned from."""
        ...
