"""Participation agents, which decide whether and how much to take part in a round."""

from rescind.agents.curves import TraceRow, read_trace, write_trace
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
from rescind.agents.live import POLICIES, LiveAgent, make_agent, read_decisions
from rescind.agents.policy_file import PolicyFile

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
    "TraceRow",
    "make_agent",
    "read_decisions",
    "read_trace",
    "write_trace",
]
