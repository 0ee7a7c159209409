"""Agents of live nodes: a learner on one seat, or the recorded decisions of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rescind.agents.interface import (
    SIT_OUT,
    Action,
    Agent,
    Decision,
    Observation,
    Outcome,
    actions_of,
    open_actions,
)
from rescind.agents.learners import LEARNERS, Seating, Tabular, make_learner
from rescind.agents.learners.base import Floats
from rescind.agents.learners.tabular import describe, states_for, states_of
from rescind.agents.policy_file import PolicyFile
from rescind.core.errors import AgentError
from rescind.core.json_text import parse_json

POLICIES = (*(name for name in LEARNERS if name != "oracle"), "recorded")
"""Policies that a node can have. The oracle looks into the game, which a node cannot."""


class LiveAgent:
    """A learner on the single seat of a node.

    Args:
        learner: Name of the learner, one of LEARNERS.
        settings: Its settings, where they differ from the defaults or from the file's.
        seed: Seed of its exploration.
        path: Where it keeps what it learns across restarts.
        start: Policy to begin with while there is no file at `path`.
        frozen: Neither learn nor explore.
        private: Whether the consortium's rounds are private, which opens the noisier actions.
        statistics: Whether the consortium agreed on statistics, which opens posting them.

    Raises:
        AgentError: The policy file is damaged or of another version, or belongs to another learner
            or to other actions than the consortium's rounds open.
    """

    def __init__(
        self,
        learner: str,
        settings: Mapping[str, Any],
        *,
        seed: int,
        path: Path | None = None,
        start: Path | None = None,
        frozen: bool = False,
        private: bool = False,
        statistics: bool = False,
    ) -> None:
        self._open = open_actions(private=private, statistics=statistics)
        self._actions = actions_of(self._open)
        self._path, self._frozen, self._learned = path, frozen, 0
        source = path if path is not None and path.exists() else start
        if source is None:
            self._learner = make_learner(learner, settings)
            self._learner.start(Seating(np.array([seed], np.uint64), 1, self._open))
            return
        file = PolicyFile.read(source)
        if file.learner != learner:
            raise AgentError(
                f"{source} holds a policy of {file.learner}, but your node's policy is {learner}. "
                f'Move the file away, or set policy = "{file.learner}".'
            )
        if file.open_actions != self._open:
            raise AgentError(
                f"{source} chooses from {file.open_actions} actions, but the consortium's rounds "
                f"open {self._open}. Use a policy trained with private = {str(private).lower()} and "
                f"{'' if statistics else 'no '}statistics."
            )
        merged = replace(file, settings={**file.settings, **settings})
        self._learner = merged.seated(source, [seed])
        self._learned = file.learned_round if source == path else 0

    def decide(self, observation: Observation, round_id: int) -> Decision:
        """Return the action for a round, the values of the open actions, and why it was chosen."""
        features = _one_seat(observation)
        chosen = self._learner.choose(features, round_id, explore=not self._frozen)
        action = int(chosen[0, 0])
        values = self._learner.values(features).reshape(-1)
        best = int(values.argmax()) if values.size else action
        return Decision(
            self._actions[action],
            self._why(features, action, best, values),
            explored=action != best or self._learner.name == "random",
            values=tuple(float(value) for value in values),
        )

    def learn(
        self,
        round_id: int,
        before: Observation,
        action: Action,
        outcome: Outcome,
        after: Observation,
    ) -> None:
        """Learn from a finished round and keep the result; ignore rounds already learned from."""
        if self._frozen or round_id <= self._learned:
            return
        index = np.array([[nearest_action(action, self._open)]], dtype=np.int8)
        reward = np.array([[outcome.reward]])
        self._learner.learn(_one_seat(before), index, reward, _one_seat(after), round_id)
        self._learned = round_id
        if self._path is not None:
            file = PolicyFile.of(self._learner, self._open, self._learner.state())
            replace(file, learned_round=round_id).write(self._path)

    def _why(self, features: Floats, action: int, best: int, values: Floats) -> str:
        name = self._learner.name
        if not values.size:
            return {
                "always": "always takes part in full",
                "never": "never takes part",
                "random": "drawn at random",
            }[name]
        state = ""
        if isinstance(self._learner, Tabular):
            state = f"state {describe(int(states_of(features[0], states_for(self._open))[0]))}: "
        verb = "takes" if action == best else "tries an action beside"
        return (
            f"{name}: {state}{verb} the best of {values.size} actions "
            f"(expected {values[best]:.3f} ether)"
        )


@dataclass(frozen=True)
class RecordedAgent:
    """Decisions of an earlier run, by round; used to replay it."""

    decisions: Mapping[int, Action]

    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
        """Return the recorded decision of a round, or sit out where there is none."""
        if round_id not in self.decisions:
            return Decision(SIT_OUT, f"no decision was recorded for round {round_id}", False)
        return Decision(self.decisions[round_id], "as recorded in the run replayed", False)

    def learn(
        self,
        round_id: int,
        before: Observation,
        action: Action,
        outcome: Outcome,
        after: Observation,
    ) -> None:
        """Do nothing: recorded decisions do not change."""


def read_decisions(path: Path) -> dict[int, Action]:
    """Read recorded decisions by round.

    The file is {"1": {"effort": 1.0, "data_fraction": 1.0, "noise": 0.0}, ...}.

    Raises:
        AgentError: The file cannot be read or has another content.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        return {
            int(round_id): Action(
                float(a["effort"]),
                float(a["data_fraction"]),
                float(a.get("noise", 0.0)),
                float(a.get("statistics", 0.0)),
            )
            for round_id, a in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(f"{path} does not hold recorded decisions: {error}.") from error


def make_agent(
    policy: str,
    *,
    seed: int,
    table: Path,
    settings: Mapping[str, Any] | None = None,
    decisions: Path | None = None,
    start: Path | None = None,
    frozen: bool = False,
    private: bool = False,
    statistics: bool = False,
) -> Agent:
    """Return the agent of a node's [agent] section.

    Args:
        policy: One of POLICIES.
        seed: Seed of its exploration.
        table: Where a learner keeps what it learns.
        settings: Settings of the learner.
        decisions: For policy "recorded", the file to follow.
        start: Policy to begin with while there is no file at `table`.
        frozen: Neither learn nor explore.
        private: Whether the consortium's rounds are private.
        statistics: Whether the consortium agreed on statistics.

    Raises:
        AgentError: The policy is unknown, or one of its files is missing or damaged.
    """
    if policy == "recorded":
        if decisions is None:
            raise AgentError(
                "policy 'recorded' needs [agent] decisions. Set it to the file to follow."
            )
        return RecordedAgent(read_decisions(decisions))
    if policy not in POLICIES:
        raise AgentError(f"unknown policy {policy!r}. Choose one of: {', '.join(POLICIES)}.")
    if policy == "dqn" and start is None and not table.exists():
        raise AgentError("policy 'dqn' needs [agent] start. Set it to a trained policy file.")
    return LiveAgent(
        policy,
        settings or {},
        seed=seed,
        path=table,
        start=start,
        frozen=frozen,
        private=private,
        statistics=statistics,
    )


def nearest_action(action: Action, open_: int) -> int:
    """Return the index of the open action nearest to what a node carried out.

    A node may carry out something between its actions, for example more local steps than it chose.
    """
    actions = actions_of(open_)
    if action in actions:
        return actions.index(action)
    return min(
        range(open_),
        key=lambda index: (
            abs(actions[index].effort - action.effort)
            + abs(actions[index].data_fraction - action.data_fraction)
            + abs(actions[index].noise - action.noise)
            + abs(actions[index].statistics - action.statistics)
        ),
    )


def _one_seat(observation: Observation) -> Floats:
    """Return an observation as features of one game with one seat, (1, 1, FEATURES)."""
    return observation.features()[None, None]
