"""Policy files: what `rescind agents train` writes and a node loads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rescind.agents.interface import OBSERVATION_VERSION, actions_of
from rescind.agents.learners import Learner, Seating, make_learner
from rescind.core import write_atomically
from rescind.core.errors import AgentError
from rescind.core.json_text import parse_json

POLICY_FORMAT = "rescind.policy/2"
"""Version 1 had no statistics among the actions and observations."""


@dataclass(frozen=True)
class PolicyFile:
    """The learned policy of one organization, as one JSON document.

    Attributes:
        learner: Name of the learner, one of LEARNERS.
        settings: Settings of the learner.
        open_actions: Size of the set of actions that the policy chooses from.
        state: What was learned, see `Learner.state`.
        learned_round: The last round that a node learned from; 0 when trained in the game.
    """

    learner: str
    settings: Mapping[str, Any]
    open_actions: int
    state: Mapping[str, Any]
    learned_round: int = 0

    @classmethod
    def of(cls, learner: Learner, open_: int, state: Mapping[str, Any]) -> PolicyFile:
        """Return the policy of one seat of a learner.

        Args:
            learner: The learner, whose name and settings are kept.
            open_: Size of the set of actions that it chooses from.
            state: What it learned on that seat, from `Learner.state`.
        """
        # A bandit has two configurations: its own in `bandit`, and the tabular one that it derives.
        config = getattr(learner, "bandit", getattr(learner, "config", None))
        settings = asdict(config) if is_dataclass(config) else {}  # type: ignore[arg-type]
        plain = json.loads(json.dumps(settings, default=_plain))
        return cls(learner.name, plain, open_, state)

    def write(self, path: Path) -> None:
        """Write the policy durably, making its folder if needed.

        Raises:
            OSError: The file cannot be written.
        """
        content = {
            "format": POLICY_FORMAT,
            "observation_version": OBSERVATION_VERSION,
            "actions": [asdict(action) for action in actions_of(self.open_actions)],
            "learner": self.learner,
            "settings": dict(self.settings),
            "learned_round": self.learned_round,
            "state": dict(self.state),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(content, sort_keys=True).encode())

    @classmethod
    def read(cls, path: Path) -> PolicyFile:
        """Read a policy.

        Raises:
            AgentError: The file cannot be read, is damaged, or is a policy of another format, for
                other observations or for other actions.
        """
        try:
            content: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
            _check_version(path, content)
            return cls(
                str(content["learner"]),
                dict(content["settings"]),
                len(content["actions"]),
                dict(content["state"]),
                int(content["learned_round"]),
            )
        except OSError as error:
            raise AgentError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_policy(path, error) from error

    def seated(self, path: Path, seeds: ArrayLike, seats: int = 1, first: int = 0) -> Learner:
        """Return the policy's learner, with what was learned on every seat.

        Args:
            path: Where the policy came from, for errors.
            seeds: Seeds of the games, (games,).
            seats: How many organizations of each game it decides for.
            first: The first of them.

        Raises:
            AgentError: The policy has settings or a state that its learner does not accept.
        """
        learner = make_learner(self.learner, self.settings)
        try:
            learner.start(Seating(np.asarray(seeds, np.uint64), seats, self.open_actions, first))
            learner.restore(dict(self.state))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise _not_a_policy(path, error) from error
        return learner


def _check_version(path: Path, content: Mapping[str, Any]) -> None:
    if content["format"] != POLICY_FORMAT:
        raise AgentError(
            f"{path} has format {content['format']!r}, but this version reads {POLICY_FORMAT}. "
            "Train it again, or move it away to start without it."
        )
    version = content["observation_version"]
    if version != OBSERVATION_VERSION:
        raise AgentError(
            f"{path} is a policy for observations of version {version}, but nodes make version "
            f"{OBSERVATION_VERSION}. Train it again, or move it away to start without it."
        )
    actions = content["actions"]
    if not _is_a_set(actions):
        raise AgentError(
            f"{path} chooses from other actions than this version. Train it again, or move it away "
            "to start without it."
        )


def _is_a_set(actions: Sequence[Any]) -> bool:
    try:
        return actions == [asdict(action) for action in actions_of(len(actions))]
    except ValueError:
        return False


def _not_a_policy(path: Path, error: Exception) -> AgentError:
    return AgentError(
        f"{path} is not a valid policy file: {error}. To start without it, move it away."
    )


def _plain(value: Any) -> Any:
    return value.model_dump()
