"""Participation agents: whether, and how much, to take part in a round."""

from rescind.agents.interface import (
    ACTIONS,
    FEATURES,
    FULL,
    OBSERVATION_VERSION,
    SIT_OUT,
    Action,
    Agent,
    Decision,
    Observation,
    Outcome,
)
from rescind.agents.policy import (
    POLICIES,
    LiveAgent,
    PolicyFile,
    make_agent,
    read_decisions,
)

__all__ = [
    "ACTIONS",
    "FEATURES",
    "FULL",
    "OBSERVATION_VERSION",
    "POLICIES",
    "SIT_OUT",
    "Action",
    "Agent",
    "Decision",
    "LiveAgent",
    "Observation",
    "Outcome",
    "PolicyFile",
    "make_agent",
    "read_decisions",
]
