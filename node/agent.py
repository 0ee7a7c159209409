"""The participation agent of a node, made from its configuration."""

from __future__ import annotations

from rescind.agents import Agent, PolicyFile, make_agent
from rescind.agents.learners import make_learner
from rescind.core import ConsortiumParameters
from rescind.node.config import NodeConfig

_VALUING_QUALITY = ("q-learning", "double-q", "sarsa", "bandit", "myopic")
"""Policies with a setting `quality_value`, which [costs] gives them."""


def check_agent(config: NodeConfig) -> None:
    """Check what can be checked before the agreed parameters are known.

    Raises:
        AgentError: The policy file cannot be read, or a setting is unknown.
    """
    section = config.agent
    if section.start is not None:
        PolicyFile.read(section.start)
    if section.policy != "recorded":
        make_learner(section.policy, section.settings)


def agent_of(config: NodeConfig, parameters: ConsortiumParameters) -> Agent:
    """Return the agent that the [agent] and [costs] sections describe.

    Args:
        config: The node's configuration.
        parameters: What the consortium agreed on.

    Raises:
        AgentError: The policy file cannot be read, or a setting is unknown.
    """
    section, costs = config.agent, config.costs
    own: dict[str, float | int | str] = {}
    if section.policy in _VALUING_QUALITY:
        own["quality_value"] = costs.quality_value
    if section.policy == "myopic":
        own["privacy_price"] = costs.privacy_price
    return make_agent(
        section.policy,
        seed=section.seed,
        table=config.node.state_dir / "agent.json",
        settings={**own, **section.settings},
        decisions=section.decisions,
        start=section.start,
        frozen=section.frozen,
        private=parameters.training.privacy is not None,
        statistics=parameters.statistics is not None,
    )
