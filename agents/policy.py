"""Policy files, and the agent of a live node: one seat of the same learner that plays the game."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rescind.agents.interface import (
    ACTIONS,
    OBSERVATION_VERSION,
    SIT_OUT,
    Action,
    Agent,
    Decision,
    Observation,
    Outcome,
    open_actions,
)
from rescind.agents.learners import (
    LEARNERS,
    Learner,
    Place,
    Tabular,
    make_learner,
)
from rescind.agents.learners.tabular import describe, states_of
from rescind.core.errors import AgentError

POLICY_FORMAT = "rescind.policy/1"
POLICIES = (*(name for name in LEARNERS if name != "oracle"), "recorded")


@dataclass(frozen=True)
class PolicyFile:
    """What `rescind agents train` writes and a node loads. `open_actions`: how many of ACTIONS it chooses
    from; `learned_round`: the last round that it learned from in a node, 0 in the game."""

    learner: str
    settings: Mapping[str, Any]
    open_actions: int
    state: Mapping[str, Any]
    learned_round: int = 0

    @classmethod
    def of(cls, learner: Learner, open_: int, state: Mapping[str, Any]) -> PolicyFile:
        config = getattr(learner, "bandit", getattr(learner, "config", None))
        settings = asdict(config) if is_dataclass(config) else {}  # type: ignore[arg-type]
        return cls(learner.name, json.loads(json.dumps(settings, default=_plain)), open_, state)

    def write(self, path: Path) -> None:
        content = {
            "format": POLICY_FORMAT,
            "observation_version": OBSERVATION_VERSION,
            "actions": [asdict(action) for action in ACTIONS[: self.open_actions]],
            "learner": self.learner,
            "settings": dict(self.settings),
            "learned_round": self.learned_round,
            "state": dict(self.state),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> PolicyFile:
        """Raises AgentError for anything but a policy of this version."""
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != POLICY_FORMAT:
                raise AgentError(
                    f"{path} has format {content['format']!r}, this version reads {POLICY_FORMAT}: "
                    "move it away to start afresh"
                )
            version = content["observation_version"]
            if version != OBSERVATION_VERSION:
                raise AgentError(
                    f"{path} is a policy for observations of version {version}, nodes make version "
                    f"{OBSERVATION_VERSION}: train it again, or move it away to start afresh"
                )
            count = len(content["actions"])
            if content["actions"] != [asdict(action) for action in ACTIONS[:count]]:
                raise AgentError(f"{path} chooses from other actions: move it away to start afresh")
            return cls(
                str(content["learner"]),
                dict(content["settings"]),
                count,
                dict(content["state"]),
                int(content["learned_round"]),
            )
        except OSError as error:
            raise AgentError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise AgentError(f"{path} is not a policy file: {error}; move it away") from error

    def seated(self, path: Path, seeds: Any, seats: int = 1, first: int = 0) -> Learner:
        """Its learner, sitting on every seat with what was learned. Raises AgentError naming `path`."""
        learner = make_learner(self.learner, self.settings)
        try:
            learner.start(Place(np.asarray(seeds, np.uint64), seats, self.open_actions, first))
            learner.restore(dict(self.state))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise AgentError(f"{path} is not a policy file: {error}; move it away") from error
        return learner


class LiveAgent:
    """A learner on the one seat of a node. What it learns is kept in `path` across restarts.

    `start`: a policy to begin with when there is nothing at `path` yet. `frozen`: neither learn nor
    explore. Raises AgentError for a file that is damaged or of another version, or for other actions
    than the consortium's rounds open.
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
    ) -> None:
        self._open = open_actions(private=private)
        self._path, self._frozen, self._learned = path, frozen, 0
        source = path if path is not None and path.exists() else start
        if source is None:
            self._learner = make_learner(learner, settings)
            self._learner.start(Place(np.array([seed], np.uint64), 1, self._open))
            return
        file = PolicyFile.read(source)
        if file.learner != learner:
            raise AgentError(
                f"{source} holds a policy of {file.learner}, the node's is {learner}: move it away, "
                f'or set policy = "{file.learner}"'
            )
        if file.open_actions != self._open:
            raise AgentError(
                f"{source} chooses from {file.open_actions} actions, the consortium's rounds open "
                f"{self._open}: use one trained with private = {str(private).lower()}"
            )
        chosen = PolicyFile(
            file.learner, {**file.settings, **settings}, file.open_actions, file.state
        )
        self._learner = chosen.seated(source, [seed])
        self._learned = file.learned_round if source == path else 0

    def decide(self, observation: Observation, round_id: int) -> Decision:
        features = observation.features()[None, None]
        action = int(
            self._learner.choose(features, round_id, explore=not self._frozen).reshape(-1)[0]
        )
        values = self._learner.values(features).reshape(-1)
        best = int(values.argmax()) if values.size else action
        return Decision(
            ACTIONS[action],
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
        if self._frozen or round_id <= self._learned:
            return
        place = np.array([[_place_of(action, self._open)]], dtype=np.int8)
        reward = np.array([[outcome.reward]])
        features = (before.features()[None, None], after.features()[None, None])
        self._learner.learn(features[0], place, reward, features[1], round_id)
        self._learned = round_id
        if self._path is not None:
            file = PolicyFile.of(self._learner, self._open, self._learner.state())
            PolicyFile(**{**vars(file), "learned_round": round_id}).write(self._path)

    def _why(self, features: Any, action: int, best: int, values: Any) -> str:
        name = self._learner.name
        if not values.size:
            return {
                "always": "always takes part in full",
                "never": "never takes part",
                "random": "drawn at random",
            }[name]
        state = ""
        if isinstance(self._learner, Tabular):
            state = f"state {describe(int(states_of(features[0])[0]))}: "
        does = "takes" if action == best else "tries an action beside"
        return (
            f"{name}: {state}{does} the best of {values.size} actions "
            f"(expected {values[best]:.3f} ether)"
        )


@dataclass(frozen=True)
class RecordedAgent:
    """Decides as was decided in an earlier run; a replay holds decisions as they were recorded."""

    decisions: Mapping[int, Action]

    def decide(self, observation: Observation, round_id: int) -> Decision:  # noqa: ARG002
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
        """Nothing is learned."""


def read_decisions(path: Path) -> dict[int, Action]:
    """{"1": {"effort": 1.0, "data_fraction": 1.0, "noise": 0.0}, ...}. Raises AgentError naming the file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            int(round_id): Action(
                float(a["effort"]), float(a["data_fraction"]), float(a.get("noise", 0.0))
            )
            for round_id, a in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(f"{path} does not hold recorded decisions: {error}") from error


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
) -> Agent:
    """The agent of a node's [agent] section. Raises AgentError for an unknown policy."""
    if policy == "recorded":
        if decisions is None:
            raise AgentError("policy 'recorded' needs [agent] decisions, the file to follow")
        return RecordedAgent(read_decisions(decisions))
    if policy not in POLICIES:
        raise AgentError(f"unknown policy {policy!r}: one of {', '.join(POLICIES)}")
    if policy == "dqn" and start is None and not table.exists():
        raise AgentError("policy 'dqn' needs [agent] start, a trained policy file")
    return LiveAgent(
        policy,
        settings or {},
        seed=seed,
        path=table,
        start=start,
        frozen=frozen,
        private=private,
    )


def _place_of(action: Action, open_: int) -> int:
    """Where a node carried out something beside its actions (all steps, say), the nearest open one."""
    if action in ACTIONS[:open_]:
        return ACTIONS.index(action)
    return min(
        range(open_),
        key=lambda place: (
            abs(ACTIONS[place].effort - action.effort)
            + abs(ACTIONS[place].data_fraction - action.data_fraction)
            + abs(ACTIONS[place].noise - action.noise)
        ),
    )


def _plain(value: Any) -> Any:
    return value.model_dump()
