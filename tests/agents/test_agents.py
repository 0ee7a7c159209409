import dataclasses
from pathlib import Path

import pytest

from adapters.errors import AgentError
from agents import (
    ACTIONS,
    SIT_OUT,
    Observation,
    Outcome,
    QLearningAgent,
    QLearningConfig,
    make_agent,
    read_decisions,
)

SEEN = Observation(1, 4, 0, 0.0, 0.0, 0.02)


def agent(path: Path | None = None, **changes) -> QLearningAgent:
    return QLearningAgent(dataclasses.replace(QLearningConfig(), **changes), path)


def test_at_first_it_takes_part_in_full() -> None:
    assert agent(epsilon=0.0).decide(SEEN, 1).action == ACTIONS[-1]


def test_exploring_goes_one_level_beside_the_best() -> None:
    tried = {agent(epsilon=1.0, seed=seed).decide(SEEN, 1).action for seed in range(20)}
    assert tried == {ACTIONS[-2]}


def test_a_decision_is_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    for round_id in range(1, 20):
        it = agent(path, epsilon=0.5)
        decision = it.decide(SEEN, round_id)
        assert agent(path, epsilon=0.5).decide(SEEN, round_id) == decision
        it.learn(round_id, SEEN, decision.action, Outcome(0.1, 0.02, 0, 0.1), SEEN)


def test_a_round_is_learned_from_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    it = agent(path)
    it.learn(1, SEEN, ACTIONS[-1], Outcome(1, 0, 0, 0), SEEN)
    before = path.read_text()
    agent(path).learn(1, SEEN, ACTIONS[-1], Outcome(1, 0, 0, 0), SEEN)
    assert path.read_text() == before


def test_the_update_is_watkins() -> None:
    it = agent(epsilon=0.0, alpha=0.5, gamma=0.9)
    values = it.decide(SEEN, 1).values
    outcome = Outcome(paid_reward=0.3, compute_cost=0.02, privacy_cost=0.01, quality_gain=0.1)
    it.learn(1, SEEN, ACTIONS[-1], outcome, SEEN)
    target = (0.3 - 0.02 - 0.01 + 0.1) + 0.9 * max(values)
    assert it.decide(SEEN, 2).values[-1] == pytest.approx(values[-1] + 0.5 * (target - values[-1]))


def test_what_only_costs_is_given_up() -> None:
    it = agent(epsilon=0.0)
    dear = dataclasses.replace(SEEN, compute_price=5.0, quality=1.0)
    for round_id in range(1, 200):
        action = it.decide(dear, round_id).action
        it.learn(round_id, dear, action, Outcome(0, 5.0 * action.effort, 0, 0), dear)
    assert it.decide(dear, 200).action == SIT_OUT


@pytest.mark.parametrize(
    "content", ["", "[]", '{"format": "other/9"}', '{"format": 3, "actions": []}']
)
def test_a_table_that_is_not_one_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(content)
    with pytest.raises(AgentError, match="move it away"):
        agent(path)


def test_recorded_decisions_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text('{"1": {"effort": 0.5, "data_fraction": 1.0}}')
    it = make_agent("recorded", seed=0, table=tmp_path / "t", decisions=path)
    assert it.decide(SEEN, 1).action == ACTIONS[2]
    assert it.decide(SEEN, 2).action == SIT_OUT
    path.write_text("nonsense")
    with pytest.raises(AgentError, match="recorded decisions"):
        read_decisions(path)
    with pytest.raises(AgentError, match="unknown policy"):
        make_agent("greedy", seed=0, table=tmp_path / "t")


def test_the_baselines_do_what_they_are_called(tmp_path: Path) -> None:
    assert make_agent("always", seed=0, table=tmp_path / "t").decide(SEEN, 1).action == ACTIONS[-1]
    assert make_agent("never", seed=0, table=tmp_path / "t").decide(SEEN, 1).action == SIT_OUT
    drawn = {
        make_agent("random", seed=n, table=tmp_path / "t").decide(SEEN, 1).action for n in range(60)
    }
    assert drawn == set(ACTIONS)
