"""Posting statistics, gas, bonds and penalties in the game."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.agents import ACTIONS, FULL, SIT_OUT
from rescind.agents.chain_terms import CLAIM, SIT_OUT_GAS, gas_of
from rescind.agents.experiments.planner import planned, planned_welfare
from rescind.agents.game import Game
from rescind.agents.interface import actions_of, levels_of, open_actions
from rescind.agents.learners import LEARNERS, Seating, make_learner
from rescind.agents.learners.tabular import STATES, describe, explored
from rescind.agents.play import play, sit
from rescind.agents.world import GameConfig, StatisticsTerms

SCORES = Path(__file__).parents[2] / "benchmarks" / "participation" / "scores-sums.json"
TERMS = {"share": 0.5, "scale": 0.5, "price": 0.1}
POSTED = FULL + 5
"""Full effort with statistics, where rounds are not private."""
ONLY_POST = 5
"""Statistics without training."""


def config(**changes) -> GameConfig:
    document = {"statistics": TERMS, "overlap": 1.0, "gas_price": 0.0, **changes}
    return GameConfig.model_validate(document)


def one(game_config: GameConfig) -> Game:
    return Game(game_config, np.array([0]))


def all_take(game_config: GameConfig, action: int) -> np.ndarray:
    return np.full((1, game_config.organizations), action, dtype=np.int8)


def test_each_set_of_actions_has_its_own_size() -> None:
    sizes = [open_actions(private=p, statistics=s) for p in (False, True) for s in (False, True)]
    assert sizes == [5, 10, 9, 18]
    assert actions_of(5) == ACTIONS[:5]
    assert actions_of(9) == ACTIONS


def test_the_second_half_of_a_set_posts_statistics() -> None:
    actions = actions_of(10)
    assert [a.statistics for a in actions] == [0.0] * 5 + [1.0] * 5
    assert [a.effort for a in actions[:5]] == [a.effort for a in actions[5:]]
    assert actions[ONLY_POST].takes_part
    assert not SIT_OUT.takes_part


def test_a_set_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="5, 9, 10, 18"):
        actions_of(7)


def test_posted_statistics_answer_questions_of_all_members() -> None:
    game = one(config(organizations=2))
    step = game.step(np.array([[ONLY_POST, 0]], dtype=np.int8))
    assert step.gain[0, 1] == step.gain[0, 0] > 0
    assert step.paid[0, 0] > 0 == step.paid[0, 1]


def test_statistics_are_state_so_the_same_ones_are_paid_once() -> None:
    game = one(config())
    first = game.step(all_take(game.config, ONLY_POST))
    assert first.paid.sum() > 0
    quality = game.state.quality.copy()
    second = game.step(all_take(game.config, ONLY_POST))
    assert second.paid.sum() == 0
    assert (game.state.quality == quality).all()


def test_what_is_posted_is_seen() -> None:
    game = one(config())
    assert (game.observe()[..., 7] == 0).all()
    game.step(all_take(game.config, ONLY_POST))
    assert (game.observe()[..., 7] == 1).all()


def test_posting_costs_its_price_and_no_training() -> None:
    game = one(config(compute_price=0.02))
    step = game.step(all_take(game.config, ONLY_POST))
    assert step.compute == pytest.approx(0.002)
    assert not game.state.own.any()


def test_posting_spends_its_own_epsilon() -> None:
    terms = {**TERMS, "epsilon": 0.7}
    game = one(config(private=True, privacy_price=0.1, statistics=terms))
    step = game.step(all_take(game.config, len(ACTIONS)))
    assert game.state.epsilon == pytest.approx(0.7)
    assert step.privacy == pytest.approx(0.07)


def test_a_member_that_leaves_takes_its_statistics_with_it() -> None:
    game = one(config(leave_rate=1.0))
    game.step(all_take(game.config, ONLY_POST))
    assert not game.state.posted.any()


def test_withdrawn_rows_leave_the_sum_at_once() -> None:
    game = one(config(withdrawal_rate=1.0, withdrawn_share=0.25))
    game.step(all_take(game.config, ONLY_POST))
    assert game.state.posted == pytest.approx(0.75 * game.organizations.size)


def test_rows_that_come_back_are_not_paid_again() -> None:
    game = one(config(withdrawal_rate=1.0, withdrawn_share=0.25))
    assert game.step(all_take(game.config, ONLY_POST)).paid.sum() > 0
    quality = game.state.quality.copy()
    again = game.step(all_take(game.config, ONLY_POST))
    assert again.paid.sum() == 0
    # They are in the sum again, until the next withdrawal.
    assert game.state.posted == pytest.approx(0.75 * game.organizations.size)
    assert game.state.quality == pytest.approx(quality)


def test_members_that_come_back_are_not_paid_again_for_their_rows() -> None:
    game = one(config(leave_rate=1.0, join_rate=1.0, organizations=2))
    first = game.step(all_take(game.config, ONLY_POST))
    game.step(all_take(game.config, 0))
    second = game.step(all_take(game.config, ONLY_POST))
    assert first.paid.sum() > 0 == second.paid.sum()


def test_posting_the_same_alone_is_not_paid_by_chance() -> None:
    game = one(config(rounds=40, evaluation_noise=0.01))
    game.step(all_take(game.config, ONLY_POST))
    for _ in range(39):
        assert game.step(all_take(game.config, ONLY_POST)).paid.sum() == 0


@pytest.mark.parametrize("rule", ["alone", "leave-one-out", "shapley"])
def test_a_copy_of_statistics_earns_nothing_under_every_rule(rule: str) -> None:
    game = one(config(organizations=3, cheats={"copied": 1}, reward_rule=rule))
    paid = game.step(all_take(game.config, ONLY_POST)).paid[0]
    assert paid[2] == 0
    assert paid[0] > 0


def test_swapped_labels_take_away_what_others_rows_tell() -> None:
    with_cheat = one(config(organizations=3, cheats={"swapped-statistics": 1}))
    without = one(config(organizations=3))
    paid = with_cheat.step(all_take(with_cheat.config, ONLY_POST)).paid
    without.step(all_take(without.config, ONLY_POST))
    assert paid[0, 2] == 0
    assert with_cheat.state.quality[0, 0] < without.state.quality[0, 0]


@pytest.mark.parametrize("cheat", ["empty-statistics", "copied-statistics"])
def test_statistics_without_new_rows_are_not_paid(cheat: str) -> None:
    game = one(config(organizations=3, cheats={cheat: 1}))
    assert game.step(all_take(game.config, ONLY_POST)).paid[0, 2] == 0


def test_every_answer_to_a_round_costs_its_gas() -> None:
    game = one(config(gas_price=20.0, organizations=2))
    step = game.step(np.array([[POSTED, 0]], dtype=np.int8))
    gas, _ = gas_of(actions_of(10)[POSTED], two_parts=True)
    assert step.fees[0] == pytest.approx([20e-9 * (gas + CLAIM), 20e-9 * SIT_OUT_GAS])
    assert (step.reward == step.paid - step.compute - step.privacy - step.fees + step.gain).all()


def test_a_bond_costs_interest_while_one_is_a_member() -> None:
    game = one(config(capital_rate=0.001, bond=2.0))
    assert game.step(all_take(game.config, 0)).fees == pytest.approx(0.002)


def test_a_member_that_does_not_reveal_pays_the_penalty_into_the_pool_and_earns_nothing() -> None:
    game = one(config(unrevealed_rate=1.0, pool=10.0))
    step = game.step(all_take(game.config, POSTED))
    assert step.fees == pytest.approx(0.1)
    assert step.forfeited[0] == pytest.approx(0.4)
    assert game.state.pool[0] == pytest.approx(10.4)
    assert not step.paid.any()
    assert not game.state.own.any()
    assert not game.state.posted.any()
    assert game.state.participants[0] == 0


def test_penalties_only_move_money() -> None:
    game = one(config(unrevealed_rate=1.0, compute_price=0.0, rounds=3))
    welfare = play(game, [sit(game, make_learner("always"))], 1, learning=[False]).by_round
    assert welfare["welfare"].sum() == pytest.approx(0.0)


def test_a_penalty_above_the_bond_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than bond"):
        config(unrevealed_penalty=2.0)


def test_the_planner_has_everyone_post_in_the_first_round() -> None:
    game = one(config(rounds=4))
    actions = planned(game)
    levels = levels_of(game.open_actions)["statistics"]
    assert (levels[actions[0]] == 1).all()
    assert not levels[actions[1:]].any()
    assert planned_welfare(game, 1, 0)[0] > 0


@pytest.mark.parametrize("name", [n for n in LEARNERS if n not in ("oracle", "dqn")])
def test_every_learner_chooses_among_the_actions_with_statistics(name: str) -> None:
    game = Game(config(rounds=4, private=True), np.arange(2))
    table = [sit(game, make_learner(name))]
    played = play(game, table, 3, learning=[True])
    assert played.by_round["posted"].max() <= 1.0


def test_q_learning_learns_to_post_where_it_pays() -> None:
    game = Game(config(compute_price=0.05), np.arange(4))
    settings = {"epsilon": 0.5, "epsilon_end": 0.02, "explore_rounds": 2000, "explore": "any"}
    table = [sit(game, make_learner("q-learning", settings))]
    play(game, table, 100, learning=[True])
    played = play(game, table, 1, learning=[False], first_episode=10_000)
    assert played.by_round["posted"][0, -1].mean() > 0.9


def test_the_prior_expects_nothing_of_statistics_that_are_posted() -> None:
    learner = make_learner("q-learning")
    learner.start(Seating(np.zeros(1, np.uint64), 1, 10))
    seen = np.array([[[4.0, 4.0, 0.25, 0.5, 0.02, 1.0, 0.0, 0.0]]])
    new = learner.values(seen)[0, 0].copy()
    seen[..., 7] = 1.0
    posted = learner.values(seen)[0, 0]
    assert (new[5:] > new[:5]).all()
    assert (posted[5:] == posted[:5]).all()


def test_a_state_says_whether_statistics_are_posted() -> None:
    assert describe(STATES) == describe(0) + ", statistics posted"


def test_exploring_posts_the_same_action_or_takes_one_beside_it() -> None:
    keys = np.arange(200, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    tried = {int(explored(POSTED, key, 1.0, False, 10)) for key in keys}
    assert tried == {FULL, POSTED - 1}


def test_the_baseline_always_posts_where_it_can() -> None:
    learner = make_learner("always")
    learner.start(Seating(np.zeros(1, np.uint64), 1, 10))
    assert learner.choose(np.zeros((1, 1, 8)), 1, explore=False)[0, 0] == POSTED


def test_the_heads_curve_is_fitted_to_measured_coalitions() -> None:
    from scipy.optimize import least_squares

    rounds = json.loads(SCORES.read_text())["rounds"]
    curves = [r["right_by_size"] for r in rounds if r["players"] == 6 and "right_by_size" in r]
    right = np.mean(curves, axis=0)[1:]
    share = np.arange(1, right.size + 1) / right.size
    fitted = least_squares(lambda p: 1 - np.exp(-((share / p[0]) ** p[1])) - right, [0.5, 1.0])
    terms = StatisticsTerms()
    assert len(curves) == 5
    assert [terms.scale, terms.shape] == pytest.approx(fitted.x, abs=0.005)
