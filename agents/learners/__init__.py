"""Learners and baselines, one file each, behind one interface."""

from __future__ import annotations

from rescind.agents.learners.bandit import Bandit, BanditConfig
from rescind.agents.learners.base import Learner, Seating
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
from rescind.agents.learners.registry import learner_names, make_learner
from rescind.agents.learners.sarsa import Sarsa
from rescind.agents.learners.tabular import Tabular, TabularConfig

LEARNERS = learner_names()
"""Names of all learners, sorted."""

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
    "QLearning",
    "Random",
    "Sarsa",
    "Seating",
    "Tabular",
    "TabularConfig",
    "always",
    "make_learner",
    "never",
]
