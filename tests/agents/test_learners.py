import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.agents import (
    ACTIONS,
    FULL,
    Observation,
    PolicyFile,
)
from rescind.agents.environments import Solo
from rescind.agents.experiments.planner import planned, planned_welfare
from rescind.agents.game import Game
from rescind.agents.learners import (
    DQN,
    LEARNERS,
    Constant,
    DQNConfig,
    Oracle,
    OracleConfig,
    Seating,
    make_learner,
)
from rescind.agents.learners.dqn import scale, scaled
from rescind.agents.learners.tabular import STATES, state_of
from rescind.agents.play import play, sit
from rescind.agents.world import GameConfig

PAYS = GameConfig(organizations=4, compute_price=0.02)
COSTS = GameConfig(organizations=4, compute_price=3.0)
LEARNED = {"epsilon": 0.5, "epsilon_end": 0.02, "explore_rounds": 2000, "explore": "any"}


def trained(name: str, config: GameConfig, episodes: int = 150, seeds: int = 4):
    game = Game(config, np.arange(seeds))
    learner = make_learner(name, {} if name in ("bandit", "myopic") else LEARNED)
    table = [sit(game, learner)]
    play(game, table, episodes, learning=[True])
    return play(game, table, 2, learning=[False], first_episode=10_000), game, learner


VARIANTS = [pytest.param(name, marks=pytest.mark.slow) for name in ("double-q", "sarsa")]


@pytest.mark.parametrize("name", ["q-learning", "bandit", "myopic", *VARIANTS])
def test_learners_take_part_where_it_pays_and_sit_out_where_it_costs(name: str) -> None:
    paying, _, _ = trained(name, PAYS)
    costing, _, _ = trained(name, COSTS)
    assert paying.by_round["participation"].mean() > 0.9
    assert costing.by_round["participation"].mean() < 0.1


@pytest.mark.parametrize("name", ["q-learning", "double-q", "sarsa", "bandit"])
def test_a_policy_file_decides_as_its_learner_did(name: str, tmp_path) -> None:
    _, game, learner = trained(name, GameConfig(organizations=3, price_spread=1.0), 40)
    for g, i in ((0, 0), (2, 1), (3, 2)):
        path = tmp_path / f"{g}-{i}.json"
        PolicyFile.of(learner, game.open_actions, learner.state(g * 3 + i)).write(path)
        alone = PolicyFile.read(path).seated(path, [0])
        features = game.observe()
        action = learner.choose(features, 1, explore=False)[g, i]
        own = features[g : g + 1, i : i + 1].copy()
        assert alone.choose(own, 1, explore=False)[0, 0] == action


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.tuples(
        st.floats(0, 1),
        st.floats(0, 1),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    st.sampled_from([STATES, 2 * STATES]),
)
def test_every_observation_has_a_state(members, participants, rest, states) -> None:
    row = np.array([float(members), float(min(participants, members)), *rest])
    assert 0 <= state_of(row, states) < states


def test_learning_does_not_depend_on_which_games_are_played_together() -> None:
    config = GameConfig(organizations=3, price_spread=1.0, evaluation_noise=0.02)
    _, _, two = trained("q-learning", config, 20, seeds=2)
    _, _, three = trained("q-learning", config, 20, seeds=3)
    assert np.array_equal(two.table[:, :6], three.table[:, :6], equal_nan=True)


@pytest.mark.trains
def test_a_dqn_in_a_node_decides_as_stable_baselines_does() -> None:
    import stable_baselines3 as sb3

    environment = Solo(PAYS, others="always")
    theirs = sb3.DQN("MlpPolicy", scale(environment), policy_kwargs={"net_arch": [16, 16]}, seed=1)
    ours = DQN(DQNConfig(width=16))
    ours.start(Seating(np.zeros(1, np.uint64), 1, FULL + 1))
    ours.take(theirs.q_net.state_dict())
    game = Game(GameConfig(organizations=4, price_spread=1.0), np.arange(20))
    for _ in range(4):
        game.step(np.full((20, 4), FULL, dtype=np.int8))
        rows = game.observe().copy()
        seen = scale(environment).observation_space
        for g in range(20):
            row = scaled(rows[g, 0]).astype(np.float32)
            assert seen.contains(row)
            action, _ = theirs.predict(row, deterministic=True)
            assert ours.choose(rows[g : g + 1, :1], 1, explore=False)[0, 0] == action


@pytest.mark.trains
def test_a_dqn_learns_to_sit_out_where_training_costs_more_than_it_pays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    learner = DQN(DQNConfig(width=16, steps=1500))
    game = Game(COSTS, np.array([0]))
    table = [sit(game, make_learner("always")), sit(game, learner, 0, 1)]
    learner.train(Solo(COSTS, others="always"), 0)
    played = play(game, table, 1, learning=[False, False])
    assert played.by_organization["rounds_in"][0, 0] < 3
    # The logger of stable-baselines3 would leave a folder.
    assert not list(tmp_path.iterdir())


def test_the_oracle_earns_at_least_what_any_constant_action_earns() -> None:
    config = GameConfig(organizations=3, compute_price=0.2, price_spread=0.5, overlap=0.3)
    seeds = np.arange(5)

    def net(learner) -> np.ndarray:
        game = Game(config, seeds)
        table = [sit(game, make_learner("always")), sit(game, learner, 0, 1)]
        return play(game, table, 1, learning=[False, False]).by_organization["net"][:, 0]

    best = np.max([net(Constant(f"{n}", n)) for n in range(FULL + 1)], axis=0)
    assert (net(Oracle(OracleConfig())) >= best - 1e-9).all()


def test_the_planner_finds_the_best_of_all_plans() -> None:
    """Compare with every number of rounds for each of three organizations with constant prices."""
    config = GameConfig(
        organizations=3,
        rounds=4,
        compute_price=0.15,
        price_spread=0.6,
        size_spread=0.5,
        overlap=0.7,
    )
    game = Game(config, np.array([3]))
    welfare = planned_welfare(game, 1, 0)[0]
    best = -np.inf
    for many in itertools.product(range(5), repeat=3):
        game.reset(0)
        total = 0.0
        for round_ in range(4):
            actions = np.array([[FULL if m > round_ else 0 for m in many]], dtype=np.int8)
            step = game.step(actions)
            total += float((step.reward - step.paid).sum())
        best = max(best, total)
    assert welfare == pytest.approx(best, abs=0.06 * abs(best))
    assert planned(game).shape == (4, 1, 3)


def test_the_names_of_learners_are_sorted() -> None:
    assert list(LEARNERS) == sorted(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_is_made_by_its_name(name: str) -> None:
    assert make_learner(name).name == name


def test_a_node_observes_the_same_features_as_the_game() -> None:
    game = Game(PAYS, np.array([0]))
    game.step(np.full((1, 4), FULL, dtype=np.int8))
    row = game.observe()[0, 0]
    node = Observation(
        round_index=2,
        members=4,
        participants_last_round=4,
        reward_share_last_round=0.25,
        quality=float(game.state.quality[0, 0]),
        compute_price=0.02,
        reward_available=1.0,
    )
    assert node.features() == pytest.approx(row)
    assert len(ACTIONS) == 9
