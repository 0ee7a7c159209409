"""Learners and baselines, one file each, and their one interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rescind.agents.learners.bandit import Bandit, BanditConfig
from rescind.agents.learners.base import Learner, Place
from rescind.agents.learners.double_q import DoubleQ
from rescind.agents.learners.dqn import DQN, DQNConfig
from rescind.agents.learners.fixed import (
    Constant,
    Random,
    always,
    never,
)
from rescind.agents.learners.myopic import Myopic, MyopicConfig
from rescind.agents.learners.oracle import Oracle, OracleConfig
from rescind.agents.learners.q_learning import QLearning
from rescind.agents.learners.sarsa import Sarsa
from rescind.agents.learners.tabular import Tabular, TabularConfig
from rescind.core.errors import AgentError

LEARNERS = (
    "always",
    "bandit",
    "double-q",
    "dqn",
    "myopic",
    "never",
    "oracle",
    "q-learning",
    "random",
    "sarsa",
)

_CONFIGURED: Mapping[str, tuple[Callable[[Any], Learner], Any]] = {
    "bandit": (Bandit, BanditConfig),
    "double-q": (DoubleQ, TabularConfig),
    "dqn": (DQN, DQNConfig),
    "myopic": (Myopic, MyopicConfig),
    "oracle": (Oracle, OracleConfig),
    "q-learning": (QLearning, TabularConfig),
    "sarsa": (Sarsa, TabularConfig),
}


def make_learner(name: str, settings: Mapping[str, Any] | None = None) -> Learner:
    """`settings`: of the learner's configuration, what is not its default. Raises AgentError naming the
    setting that is unknown or impossible."""
    given = dict(settings or {})
    if name in _CONFIGURED:
        learner, config = _CONFIGURED[name]
        unknown = given.keys() - {*config.__dataclass_fields__}
        if unknown:
            known = ", ".join(config.__dataclass_fields__)
            raise AgentError(f"{name} has no setting {', '.join(sorted(unknown))}: it has {known}")
        try:
            return learner(TypeAdapter(config).validate_python(given))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise AgentError(f"{name}: {place}: {first['msg']}".replace(": :", ":")) from error
    if name not in LEARNERS:
        raise AgentError(f"unknown policy {name!r}: one of {', '.join(LEARNERS)}")
    if given:
        raise AgentError(f"{name} has no settings, found {', '.join(sorted(given))}")
    plain: Mapping[str, Callable[[], Learner]] = {
        "always": always,
        "never": never,
        "random": Random,
    }
    return plain[name]()


__all__ = [
    "DQN",
    "LEARNERS",
    "Bandit",
    "BanditConfig",
    "Constant",
    "DQNConfig",
    "DoubleQ",
    "Learner",
    "Myopic",
    "MyopicConfig",
    "Oracle",
    "OracleConfig",
    "Place",
    "QLearning",
    "Random",
    "Sarsa",
    "Tabular",
    "TabularConfig",
    "always",
    "make_learner",
    "never",
]
