import hashlib
import math
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import parallel_api_test, parallel_seed_test
from pydantic import ValidationError

from rescind.agents import ACTIONS, FULL
from rescind.agents.environments import ENVIRONMENT_ID, Participation, Solo
from rescind.agents.game import Game
from rescind.agents.payout import credit
from rescind.agents.world import GameConfig

BUSY = GameConfig(
    organizations=6,
    rounds=12,
    private=True,
    privacy_price=0.01,
    privacy_budget=3.0,
    size_spread=0.5,
    price_spread=0.5,
    value_spread=0.3,
    energy_amplitude=0.5,
    poor_share=0.3,
    evaluation_noise=0.01,
    withdrawal_rate=0.2,
    leave_rate=0.05,
    join_rate=0.2,
    cheats={"copied": 1},
)


def full(config: GameConfig, games: int = 1, action: int = FULL) -> np.ndarray:
    return np.full((games, config.organizations), action, dtype=np.int8)


def digest() -> str:
    """Return a hash of everything that two random episodes show."""
    game, sha256 = Game(BUSY, np.arange(3)), hashlib.sha256()
    rng = np.random.default_rng(5)
    for episode in range(2):
        sha256.update(game.reset(episode).tobytes())
        while not game.over:
            actions = rng.integers(0, game.open_actions, size=(3, 6)).astype(np.int8)
            step = game.step(actions)
            sha256.update(step.reward.tobytes() + step.acted.tobytes() + game.observe().tobytes())
    return sha256.hexdigest()


def test_a_rollout_is_the_same_to_the_bit_in_another_process() -> None:
    code = "from tests.agents.test_game import digest; print(digest())"
    other = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest()


def test_a_game_does_not_depend_on_games_played_with_it() -> None:
    alone, together = Game(BUSY, np.array([7])), Game(BUSY, np.array([3, 7]))
    for _ in range(BUSY.rounds):
        reward = alone.step(full(BUSY)).reward[0]
        assert (reward == together.step(full(BUSY, 2)).reward[1]).all()


def test_pettingzoo_accepts_the_environment() -> None:
    parallel_api_test(Participation(BUSY), num_cycles=50)
    parallel_seed_test(lambda: Participation(BUSY), num_cycles=30)


def test_gymnasium_accepts_the_environment() -> None:
    check_env(gymnasium.make(ENVIRONMENT_ID, config=BUSY).unwrapped)


@pytest.mark.trains
def test_stable_baselines_accepts_the_environment() -> None:
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    check_for_sb3(Solo(BUSY))


def test_another_seed_is_another_game() -> None:
    def shown(seed: int) -> bytes:
        seen, _ = Participation(BUSY).reset(seed=seed)
        return b"".join(value.tobytes() for value in seen.values())

    assert shown(1) == shown(1) != shown(2)


def test_both_environments_play_the_same_game() -> None:
    solo, parallel = Solo(BUSY, others="always", seed=4), Participation(BUSY, seed=4)
    solo.reset(seed=4)
    parallel.reset(seed=4)
    for action in (0, 4, 8, 3):
        actions = dict.fromkeys(parallel.agents, FULL) | {"organization_0": action}
        _, rewards, _, _, _ = parallel.step(actions)
        _, reward, _, _, _ = solo.step(action)
        assert reward == rewards["organization_0"]


@settings(max_examples=60, deadline=None)
@given(
    rule=st.sampled_from(["equal", "alone", "leave-one-out", "shapley"]),
    n=st.integers(2, 9),
    seed=st.integers(0, 2**40),
    reward=st.floats(0.0, 10.0),
    pool=st.floats(0.0, 30.0),
    noise=st.sampled_from([0.0, 0.01]),
)
def test_the_game_pays_what_the_contract_pays(rule, n, seed, reward, pool, noise) -> None:
    config = GameConfig(
        organizations=n,
        rounds=5,
        reward_rule=rule,
        reward_per_round=reward,
        pool=pool,
        size_spread=0.5,
        evaluation_noise=noise,
    )
    game, left = Game(config, np.array([seed])), int(pool * 1e18)
    rng = np.random.default_rng(seed)
    while not game.over:
        step = game.step(rng.integers(0, 5, size=(1, n)).astype(np.int8))
        scores = [int(score) for score in step.score[0]]
        paid = credit(int(reward * 1e18), left, scores)
        left -= sum(paid)
        assert step.paid[0] == pytest.approx([wei / 1e18 for wei in paid], abs=1e-9)
        assert max(scores) in (0, 10_000)


def test_credits_are_whole_wei_and_never_exceed_the_pool() -> None:
    assert credit(10, 7, [1, 1, 1]) == [2, 2, 2]


def test_a_round_without_scores_credits_nothing() -> None:
    assert credit(10, 100, [0, 0]) == [0, 0]


def test_sitting_out_costs_and_brings_nothing_by_itself() -> None:
    config = GameConfig(overlap=0.0)
    game = Game(config, np.array([0]))
    assert not game.step(full(config, action=0)).reward.any()


def test_members_who_sit_out_gain_from_common_knowledge() -> None:
    config = GameConfig(organizations=2, overlap=1.0)
    game = Game(config, np.array([0]))
    step = game.step(np.array([[FULL, 0]], dtype=np.int8))
    assert step.gain[0, 1] == step.gain[0, 0] > 0
    assert step.paid[0, 1] == 0


def test_quality_follows_the_curve() -> None:
    config = GameConfig(overlap=0.0, curve={"ceiling": 0.8, "scale": 3.0, "shape": 2.0})
    game = Game(config, np.array([0]))
    for _ in range(4):
        game.step(full(config))
    assert game.state.quality[0, 0] == pytest.approx(0.8 * (1 - math.exp(-((4 / 3.0) ** 2))))


def test_an_organization_sits_out_once_its_privacy_budget_is_spent() -> None:
    config = GameConfig(private=True, round_epsilon=1.0, privacy_budget=2.5)
    game = Game(config, np.array([0]))
    acted = [game.step(full(config)).acted[0, 0] > 0 for _ in range(5)]
    assert acted == [True, True, True, False, False]


def test_noise_spends_less_and_teaches_less() -> None:
    config = GameConfig(private=True)
    plain, noisy = Game(config, np.array([0])), Game(config, np.array([0]))
    plain.step(full(config))
    noisy.step(full(config, action=len(ACTIONS) - 1))
    assert noisy.state.epsilon[0, 0] == plain.state.epsilon[0, 0] / 2
    assert noisy.state.quality[0, 0] < plain.state.quality[0, 0]


def test_withdrawn_contributions_are_forgotten() -> None:
    config = GameConfig(withdrawal_rate=1.0, withdrawn_share=1.0)
    game = Game(config, np.array([0]))
    game.step(full(config))
    assert not game.state.own.any()
    assert not game.state.common.any()
    assert not game.state.quality.any()


def test_a_member_who_leaves_sits_out_and_takes_its_contribution() -> None:
    config = GameConfig(leave_rate=1.0)
    game = Game(config, np.array([0]))
    game.step(full(config))
    assert not game.state.member.any()
    assert not game.step(full(config)).acted.any()
    assert (game.observe()[..., 0] == 0).all()


def after_one_round() -> Game:
    game = Game(BUSY, np.array([1]))
    game.step(full(BUSY))
    return game


def test_a_clone_does_not_change_the_game_that_it_is_of() -> None:
    game = after_one_round()
    own = game.state.own.copy()
    game.clone().step(full(BUSY))
    assert (game.state.own == own).all()
    assert (game.step(full(BUSY)).reward == after_one_round().step(full(BUSY)).reward).all()


def test_a_clone_continues_as_the_game_does() -> None:
    game = after_one_round()
    clone = game.clone()
    assert (clone.step(full(BUSY)).reward == game.step(full(BUSY)).reward).all()


ONE_ROUND = GameConfig(rounds=1)


def test_an_action_that_is_not_open_is_refused() -> None:
    with pytest.raises(ValueError, match=r"open actions are 0\.\.4"):
        Game(ONE_ROUND, np.array([0])).step(full(ONE_ROUND, action=5))


def test_actions_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Game(ONE_ROUND, np.array([0])).step(np.zeros((2, 2), dtype=np.int8))


def test_a_game_that_has_ended_must_be_reset() -> None:
    game = Game(ONE_ROUND, np.array([0]))
    game.step(full(ONE_ROUND))
    with pytest.raises(IndexError, match="Reset"):
        game.step(full(ONE_ROUND))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"organisations": 3}, "Extra inputs"),
        ({"overlap": 1.5}, "less than or equal to 1"),
        ({"cheats": {"zero": 4}}, "must be honest"),
        ({"privacy_price": 0.1}, "private is false"),
        ({"dominant": 0.2}, "equal share"),
        ({"reward_rule": "fair"}, "reward_rule"),
    ],
)
def test_an_impossible_game_is_refused(changes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GameConfig(**changes)
