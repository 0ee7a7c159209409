"""The [agent] section of a node, and the agent that it makes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.agents import FULL, Observation, PolicyFile
from rescind.core.errors import AgentError
from rescind.node import CostSection
from rescind.node.agent import agent_of, check_agent
from rescind.node.config import AgentSection

SEEN = Observation(1, 4, 0, 0.0, 0.0, 0.02)


def config(folder: Path, **agent: Any) -> Any:
    costs = CostSection(quality_value=agent.pop("value", 0.5))
    node = SimpleNamespace(state_dir=folder)
    return SimpleNamespace(agent=AgentSection(**agent), costs=costs, node=node)


def public(*, private: bool = False, statistics: bool = False) -> Any:
    return SimpleNamespace(
        training=SimpleNamespace(privacy=object() if private else None),
        statistics=object() if statistics else None,
    )


def test_an_unknown_setting_is_rejected_before_the_parameters_are_known(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no setting gama"):
        check_agent(config(tmp_path, settings={"gama": 0.5}))


def test_a_start_file_that_is_not_a_policy_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(AgentError, match="not a valid policy file"):
        check_agent(config(tmp_path, start=tmp_path / "policy.json"))


def test_an_agent_begins_with_its_start_policy_only_where_one_is_given(tmp_path: Path) -> None:
    start = tmp_path / "policy.json"
    state = {"table": {str(n): [[9.0, 0, 0, 0, 0]] for n in range(72)}}
    PolicyFile("q-learning", {}, FULL + 1, state).write(start)
    sitting = agent_of(config(tmp_path / "a", start=start), public())
    assert not sitting.decide(SEEN, 1).action.takes_part
    assert agent_of(config(tmp_path / "b"), public()).decide(SEEN, 1).action.takes_part


def test_the_agent_values_quality_as_its_node_is_configured(tmp_path: Path) -> None:
    low, high = (
        agent_of(config(tmp_path / str(v), value=v), public()).decide(SEEN, 1).values[FULL]
        for v in (0.0, 2.0)
    )
    assert high - low == pytest.approx(2.0, abs=1e-6)


def test_private_rounds_open_more_actions(tmp_path: Path) -> None:
    assert len(agent_of(config(tmp_path), public(private=True)).decide(SEEN, 1).values) == 9


def test_agreed_statistics_open_each_action_with_them(tmp_path: Path) -> None:
    decided = agent_of(config(tmp_path), public(statistics=True)).decide(SEEN, 1)
    assert len(decided.values) == 10
