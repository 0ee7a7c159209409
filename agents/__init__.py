"""Participation agents: whether, and how much, to take part in a round."""

from agents.baselines import (
    POLICIES,
    AlwaysAgent,
    NeverAgent,
    RandomAgent,
    RecordedAgent,
    make_agent,
    read_decisions,
)
from agents.game import ACTIONS, SIT_OUT, Action, Agent, Decision, Observation, Outcome
from agents.q_learning import QLearningAgent, QLearningConfig, state_of

__all__ = [
    "ACTIONS",
    "POLICIES",
    "SIT_OUT",
    "Action",
    "Agent",
    "AlwaysAgent",
    "Decision",
    "NeverAgent",
    "Observation",
    "Outcome",
    "QLearningAgent",
    "QLearningConfig",
    "RandomAgent",
    "RecordedAgent",
    "make_agent",
    "read_decisions",
    "state_of",
]
