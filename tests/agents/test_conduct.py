"""In the game, no cheat earns more than honest training.

tests/aggregator/test_cheats.py tests the same on the chain.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.agents.game import Game
from rescind.agents.learners import make_learner
from rescind.agents.play import play, sit
from rescind.agents.world import CONDUCTS, GameConfig

CHEATS = [name for name in CONDUCTS if name != "honest"]


def pay_and_net_of_last(
    config: GameConfig, seed: int, policy: str = "always"
) -> tuple[float, float]:
    """Return the pay and the net of the last organization over an episode, in ether."""
    game = Game(config, np.array([seed], dtype=np.uint64))
    last = config.organizations - 1
    table = [sit(game, make_learner("always"), 0, last), sit(game, make_learner(policy), last, 1)]
    totals = play(game, table, 1, learning=[False, False]).by_organization
    return float(totals["paid"][0, last]), float(totals["net"][0, last])


@pytest.mark.parametrize("rule", ["shapley", "leave-one-out"])
@pytest.mark.parametrize("cheat", CHEATS)
@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 12),
    seed=st.integers(0, 2**40),
    overlap=st.floats(0.1, 1.0),
    scale=st.floats(1.0, 20.0),
    price=st.floats(0.0, 0.3),
    reward=st.floats(0.05, 3.0),
    noise=st.sampled_from([0.0, 0.001]),
    spread=st.sampled_from([0.0, 0.4]),
    statistics=st.sampled_from([None, {"share": 0.6, "scale": 0.4}]),
    gas_price=st.sampled_from([0.0, 30.0]),
)
def test_no_cheat_earns_more_than_honest_training(
    rule, cheat, n, seed, overlap, scale, price, reward, noise, spread, statistics, gas_price
) -> None:
    document = {
        "organizations": n,
        "rounds": 8,
        "reward_rule": rule,
        "reward_per_round": reward,
        "overlap": overlap,
        "compute_price": price,
        "price_spread": spread,
        "curve": {"scale": scale},
        "evaluation_noise": noise,
        "statistics": statistics,
        "gas_price": gas_price,
    }
    honest = GameConfig.model_validate(document)
    paid, net = pay_and_net_of_last(honest, seed)
    _, sitting_out = pay_and_net_of_last(honest, seed, "never")
    cheating = GameConfig.model_validate({**document, "cheats": {cheat: 1}})
    paid_to_cheat, net_of_cheat = pay_and_net_of_last(cheating, seed)
    assert paid_to_cheat <= paid + 1e-9
    # Noise may pay a cheat by chance. Apart from that it has at most what sitting out brings.
    by_chance = paid_to_cheat if noise else 0.0
    assert net_of_cheat <= max(net, sitting_out) + by_chance + 1e-9


@pytest.mark.parametrize("cheat", ["copied", "duplicated"])
def test_scoring_each_update_alone_pays_for_copies(cheat: str) -> None:
    """This is why `alone` is not the default rule."""
    config = GameConfig(reward_rule="alone", cheats={cheat: 1}, compute_price=0.1)
    _, net_of_cheat = pay_and_net_of_last(config, 0)
    _, net = pay_and_net_of_last(GameConfig(reward_rule="alone", compute_price=0.1), 0)
    assert net_of_cheat > net
