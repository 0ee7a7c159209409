"""Agents that do not learn."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import AgentError
from agents.game import ACTIONS, SIT_OUT, Action, Decision, Observation, Outcome
from agents.q_learning import QLearningAgent, QLearningConfig

POLICIES = ("always", "never", "q-learning", "random", "recorded")


class _Fixed:
    def learn(
        self,
        round_id: int,
        before: Observation,
        action: Action,
        outcome: Outcome,
        after: Observation,
    ) -> None:
        """Nothing is learned."""


class AlwaysAgent(_Fixed):
    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
        return Decision(ACTIONS[-1], "always takes part in full", explored=False)


class NeverAgent(_Fixed):
    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
        return Decision(SIT_OUT, "never takes part", explored=False)


@dataclass(frozen=True)
class RandomAgent(_Fixed):
    seed: int

    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
        dice = random.Random(f"rescind random agent {self.seed} {round_id}")
        return Decision(dice.choice(ACTIONS), "drawn at random", explored=True)


@dataclass(frozen=True)
class RecordedAgent(_Fixed):
    """Decides as was decided in an earlier run; a replay holds decisions as they were recorded."""

    decisions: Mapping[int, Action]

    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
        if round_id not in self.decisions:
            return Decision(SIT_OUT, f"no decision was recorded for round {round_id}", False)
        return Decision(self.decisions[round_id], "as recorded in the run replayed", False)


def read_decisions(path: Path) -> dict[int, Action]:
    """{"1": {"effort": 1.0, "data_fraction": 1.0}, ...}. Raises AgentError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            int(round_id): Action(float(a["effort"]), float(a["data_fraction"]))
            for round_id, a in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(f"{path} does not hold recorded decisions: {error}") from error


def make_agent(
    policy: str,
    *,
    seed: int,
    table: Path,
    epsilon: float | None = None,
    decisions: Path | None = None,
) -> AlwaysAgent | NeverAgent | QLearningAgent | RandomAgent | RecordedAgent:
    """The agent of a node's [agent] section. Raises AgentError for an unknown policy."""
    if policy == "q-learning":
        config = QLearningConfig(seed=seed)
        if epsilon is not None:
            config = QLearningConfig(seed=seed, epsilon=epsilon)
        return QLearningAgent(config, table)
    if policy == "recorded":
        if decisions is None:
            raise AgentError("policy 'recorded' needs [agent] decisions, the file to follow")
        return RecordedAgent(read_decisions(decisions))
    if policy == "random":
        return RandomAgent(seed)
    if policy in ("always", "never"):
        return AlwaysAgent() if policy == "always" else NeverAgent()
    raise AgentError(f"unknown policy {policy!r}: one of {', '.join(POLICIES)}")
