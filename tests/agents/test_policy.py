import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rescind.agents import (
    ACTIONS,
    FULL,
    SIT_OUT,
    LiveAgent,
    Observation,
    Outcome,
    PolicyFile,
    make_agent,
    read_decisions,
)
from rescind.agents.learners import LEARNERS, make_learner
from rescind.core.errors import AgentError

SEEN = Observation(1, 4, 0, 0.0, 0.0, 0.02)
LEARNING = ["q-learning", "double-q", "sarsa", "bandit"]


def agent(path: Path | None = None, learner: str = "q-learning", seed: int = 0, **settings):
    return LiveAgent(learner, settings, seed=seed, path=path)


def test_a_new_agent_takes_part_in_full() -> None:
    assert agent(epsilon=0.0).decide(SEEN, 1).action == ACTIONS[FULL]


def test_exploring_goes_one_level_beside_the_best() -> None:
    tried = {agent(epsilon=1.0, seed=seed).decide(SEEN, 1).action for seed in range(20)}
    assert tried == {ACTIONS[FULL - 1]}


@pytest.mark.parametrize("learner", LEARNING)
def test_a_decision_is_the_same_after_a_restart(tmp_path: Path, learner: str) -> None:
    path = tmp_path / "agent.json"
    settings = {} if learner == "bandit" else {"epsilon": 0.5}
    running = agent(path, learner, **settings)
    for round_id in range(1, 20):
        decision = running.decide(SEEN, round_id)
        assert agent(path, learner, **settings).decide(SEEN, round_id) == decision
        running.learn(round_id, SEEN, decision.action, Outcome(0.1, 0.02, 0, 0.1), SEEN)


@pytest.mark.parametrize("learner", LEARNING)
def test_a_round_is_learned_from_once(tmp_path: Path, learner: str) -> None:
    path = tmp_path / "agent.json"
    agent(path, learner).learn(1, SEEN, ACTIONS[FULL], Outcome(1, 0, 0, 0), SEEN)
    before = path.read_text()
    agent(path, learner).learn(1, SEEN, ACTIONS[FULL], Outcome(1, 0, 0, 0), SEEN)
    assert path.read_text() == before


def test_q_learning_updates_as_watkins_states() -> None:
    learning = agent(epsilon=0.0, alpha=0.5, gamma=0.9)
    values = learning.decide(SEEN, 1).values
    outcome = Outcome(paid_reward=0.3, compute_cost=0.02, privacy_cost=0.01, quality_gain=0.1)
    learning.learn(1, SEEN, ACTIONS[FULL], outcome, SEEN)
    target = (0.3 - 0.02 - 0.01 + 0.1) + 0.9 * max(values)
    expected = values[FULL] + 0.5 * (target - values[FULL])
    assert learning.decide(SEEN, 2).values[FULL] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("learner", LEARNING)
def test_learners_give_up_actions_that_only_cost(learner: str) -> None:
    learning = agent(learner=learner)
    dear = dataclasses.replace(SEEN, compute_price=5.0, quality=1.0)
    for round_id in range(1, 300):
        action = learning.decide(dear, round_id).action
        learning.learn(round_id, dear, action, Outcome(0, 5.0 * action.effort, 0, 0), dear)
    decision = learning.decide(dear, 300)
    assert ACTIONS[int(np.argmax(decision.values))] == SIT_OUT


def test_a_frozen_agent_neither_learns_nor_explores(tmp_path: Path) -> None:
    path = tmp_path / "agent.json"
    frozen = LiveAgent("q-learning", {"epsilon": 1.0}, seed=0, path=path, frozen=True)
    for round_id in range(1, 10):
        assert frozen.decide(SEEN, round_id).action == ACTIONS[FULL]
        frozen.learn(round_id, SEEN, ACTIONS[FULL], Outcome(0, 9, 0, 0), SEEN)
    assert not path.exists()


def test_more_noise_is_open_only_where_rounds_are_private() -> None:
    private = LiveAgent("q-learning", {}, seed=0, private=True)
    assert len(private.decide(dataclasses.replace(SEEN, private=True), 1).values) == len(ACTIONS)
    assert len(agent().decide(SEEN, 1).values) == FULL + 1


def spoil(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "rescind.policy/1"}, "reads rescind.policy/2. Train it again"),
        ({"observation_version": 1}, "observations of version 1"),
        ({"actions": [{"effort": 2}]}, "other actions"),
        ({"state": {"table": {"99": [[0.0] * 5]}}}, "no state 99"),
        ({"state": {"table": {"3": [[0.0] * 4]}}}, "shape"),
        ({"state": {"table": {"3": [[None] * 5]}}}, "move it away"),
        ({"state": {}}, "move it away"),
        ({"learner": "sarsa"}, "policy of sarsa"),
        ({"learned_round": "x"}, "move it away"),
    ],
)
def test_another_policy_file_is_refused(tmp_path: Path, changes, message: str) -> None:
    path = tmp_path / "agent.json"
    agent(path).learn(1, SEEN, ACTIONS[FULL], Outcome(1, 0, 0, 0), SEEN)
    spoil(path, **changes)
    with pytest.raises(AgentError, match=message):
        agent(path)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 3}', "\xff"])
def test_an_invalid_policy_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "agent.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(AgentError, match="move it away"):
        agent(path)


def test_a_missing_policy_file_is_reported_as_missing(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read: No such file"):
        PolicyFile.read(tmp_path / "nowhere.json")


def test_a_table_with_a_number_beyond_float32_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    PolicyFile("q-learning", {}, 5, {"table": {"5": [[1e39] * 5]}}).write(path)
    with pytest.raises(AgentError, match="not a finite float32"):
        make_agent("q-learning", seed=0, table=tmp_path / "t", start=path)


def test_a_policy_for_private_rounds_is_refused_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    PolicyFile("q-learning", {}, len(ACTIONS), {"table": {}}).write(path)
    with pytest.raises(AgentError, match="chooses from 9 actions"):
        make_agent("q-learning", seed=0, table=tmp_path / "t", start=path)


def test_recorded_decisions_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text('{"1": {"effort": 0.5, "data_fraction": 1.0}}')
    recorded = make_agent("recorded", seed=0, table=tmp_path / "t", decisions=path)
    assert recorded.decide(SEEN, 1).action == ACTIONS[2]
    assert recorded.decide(SEEN, 2).action == SIT_OUT


def test_a_file_without_recorded_decisions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_text("nonsense")
    with pytest.raises(AgentError, match="recorded decisions"):
        read_decisions(path)


@pytest.mark.parametrize(
    ("policy", "message"),
    [("greedy", "unknown policy"), ("dqn", "needs \\[agent\\] start"), ("recorded", "decisions")],
)
def test_an_unknown_or_incomplete_policy_is_refused(
    tmp_path: Path, policy: str, message: str
) -> None:
    with pytest.raises(AgentError, match=message):
        make_agent(policy, seed=0, table=tmp_path / "t")


@pytest.mark.parametrize(
    ("learner", "settings", "message"),
    [
        ("q-learning", {"gama": 0.5}, "no setting gama"),
        ("q-learning", {"gamma": 1.5}, "between 0 and 1"),
        ("always", {"epsilon": 0.5}, "has no settings"),
    ],
)
def test_an_unknown_or_impossible_setting_is_refused(
    learner: str, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(AgentError, match=message):
        make_learner(learner, settings)


def test_the_baselines_do_what_their_names_say(tmp_path: Path) -> None:
    def first(policy: str, seed: int = 0):
        return make_agent(policy, seed=seed, table=tmp_path / "t").decide(SEEN, 1).action

    assert first("always") == first("myopic") == ACTIONS[FULL]
    assert first("never") == SIT_OUT
    assert {first("random", seed) for seed in range(60)} == set(ACTIONS[: FULL + 1])


@pytest.mark.parametrize("name", [n for n in LEARNERS if n not in ("oracle", "dqn")])
def test_every_agent_says_why(name: str, tmp_path: Path) -> None:
    assert len(make_agent(name, seed=0, table=tmp_path / "t").decide(SEEN, 1).why) > 10
