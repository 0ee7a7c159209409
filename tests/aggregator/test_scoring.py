"""Scores of rounds whose blocks are told apart by a formula; test_cheats.py has real ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.scoring import RoundScorer
from rescind.core import ConsortiumParameters, owner, qualify
from tests.support.consortium import micro_parameters

ROWS = 40
ORGANIZATIONS = [f"0x{n:040x}" for n in range(1, 10)]


class Formula(RoundScorer):
    """Row r costs 2 nats, less what the first tensor's sum says of it; `asked` counts."""

    asked = 0

    def losses(self, totals: Mapping[str, Any] | None, organization: str) -> np.ndarray:
        self.asked += 1
        loss = np.full(ROWS, 2.0)
        if totals:
            known = float(sum(value.sum() for value in totals.values())) / 1e9
            loss[: int(np.clip(known, 0, 1) * ROWS)] = 0.2
        return loss


def scorer(method: str = "shapley", **settings: object) -> tuple[Formula, ConsortiumParameters]:
    parameters = micro_parameters(federated=settings.pop("federated", False))
    section = EvaluationSection(data="unused", method=method, **settings)
    return Formula(section, parameters), parameters


def delta(
    parameters: ConsortiumParameters, organization: str, knows: float, seed: int
) -> dict[str, Any]:
    """Sums to `knows`, in a direction of its own."""
    rng, name = np.random.default_rng(seed), owner(parameters.layout, organization)
    tensors = {
        qualify(name, bare): rng.integers(-50_000, 50_000, shape, dtype=np.int32)
        for bare, shape in parameters.delta_shapes().items()
    }
    last = sorted(tensors)[0]
    wanted = round(knows * 1e9 / 10_000)
    tensors[last].flat[0] += wanted - sum(int(value.sum()) for value in tensors.values())
    return tensors


def scores(method: str, knows: list[float], **settings: object) -> dict[str, int]:
    round_scorer, parameters = scorer(method, **settings)
    deltas = {
        organization: delta(parameters, organization, k, seed)
        for seed, (organization, k) in enumerate(zip(ORGANIZATIONS, knows, strict=False))
    }
    return round_scorer.score(deltas, {})


def test_the_best_has_all_points_and_who_adds_nothing_none() -> None:
    most, middling, nothing = scores("shapley", [0.8, 0.4, 0.0]).values()
    assert most == 10_000
    assert 0 < middling < 10_000
    assert nothing == 0


def test_shapley_shares_what_two_know_and_leave_one_out_pays_nobody_for_it() -> None:
    assert list(scores("shapley", [0.5, 0.5]).values()) == [10_000, 10_000]
    assert list(scores("leave-one-out", [0.5, 0.5]).values()) == [0, 0]
    assert list(scores("leave-one-out", [0.8, 0.5]).values()) == [10_000, 0]
    assert list(scores("alone", [0.8, 0.4]).values()) == [10_000, 5_000]


def test_more_than_six_are_scored_by_sampling_in_the_same_order() -> None:
    knows = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0]
    points = list(scores("shapley", knows, permutations=90).values())
    assert points == sorted(points, reverse=True)
    assert points[-1] == 0


def test_sampling_is_the_same_every_time() -> None:
    knows = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    assert scores("shapley", knows) == scores("shapley", knows)


@pytest.mark.parametrize("method", ["shapley", "leave-one-out", "alone"])
def test_one_update_under_two_names_is_one(method: str) -> None:
    round_scorer, parameters = scorer(method, federated=True)
    first, other = (
        delta(parameters, organization, k, n)
        for n, (organization, k) in enumerate(zip(ORGANIZATIONS, (0.8, 0.2), strict=False))
    )
    alone = round_scorer.score({ORGANIZATIONS[0]: first, ORGANIZATIONS[1]: other}, {})
    twice = round_scorer.score(
        {ORGANIZATIONS[0]: first, ORGANIZATIONS[1]: other, ORGANIZATIONS[2]: first}, {}
    )
    assert twice[ORGANIZATIONS[0]] == twice[ORGANIZATIONS[2]]
    share = sum(twice[w] for w in (ORGANIZATIONS[0], ORGANIZATIONS[2])) / max(
        1, sum(twice.values())
    )
    assert share <= alone[ORGANIZATIONS[0]] / max(1, sum(alone.values())) + 0.01


def test_a_player_is_paid_by_what_each_of_its_updates_adds() -> None:
    round_scorer, parameters = scorer(federated=True)
    first, idle = (
        delta(parameters, name, k, 1) for name, k in zip(ORGANIZATIONS, (0.4, 0.0), strict=False)
    )
    deltas = {
        ORGANIZATIONS[0]: first,
        ORGANIZATIONS[1]: idle,
        ORGANIZATIONS[2]: delta(parameters, ORGANIZATIONS[2], 0.1, 2),
    }
    assert round_scorer._players(deltas, {}) == [
        [ORGANIZATIONS[0], ORGANIZATIONS[1]],
        [ORGANIZATIONS[2]],
    ]
    scores = round_scorer.score(deltas, {})
    assert scores[ORGANIZATIONS[0]] > 0
    assert scores[ORGANIZATIONS[1]] == 0


def test_updates_that_are_worth_nothing_alone_share_alike() -> None:
    round_scorer, parameters = scorer(federated=True)
    idle = delta(parameters, ORGANIZATIONS[0], 0.0, 1)
    shares = round_scorer._shares(ORGANIZATIONS[:2], dict.fromkeys(ORGANIZATIONS[:2], idle), {})
    assert shares == dict.fromkeys(ORGANIZATIONS[:2], 0.5)


def test_a_round_of_nobody_has_no_scores() -> None:
    round_scorer, _ = scorer()
    assert round_scorer.score({}, {}) == {}
