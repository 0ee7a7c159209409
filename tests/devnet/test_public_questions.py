"""Public questions are the same for a seed, each once, and about nobody whom an organization knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from rescind.core import artifact_id, decode
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics, reference_bytes, reference_id
from rescind.devnet.people import make_population
from rescind.devnet.public_questions import public_questions, public_reference, router_of
from rescind.training.routers import AdditiveRouter
from rescind.training.routers.router import Blocks


def test_public_questions_follow_from_their_seed() -> None:
    assert public_questions(200, seed=1) == public_questions(200, seed=1)
    assert public_questions(200, seed=1) != public_questions(200, seed=2)
    assert len(set(public_questions(400, seed=0))) > 390


def test_public_questions_name_nobody_whom_an_organization_knows() -> None:
    population = make_population(["a", "b", "c"], seed=4)
    known = {row.question for rows in population.organizations.values() for row in rows}
    assert not known & set(public_questions(400, seed=4))


def test_a_reference_is_an_artifact_of_their_features() -> None:
    agreed = RouterStatistics(features=NgramFeatures(buckets=63))
    data = reference_bytes(agreed.features, public_questions(40, seed=0))
    rows = agreed.reference_rows(decode(data))
    assert rows.shape == (40, 64)
    assert artifact_id(data) == reference_id(rows)


@pytest.mark.parametrize("seed", range(3))
def test_the_router_of_a_demo_knows_everybody_and_most_strangers(seed: int) -> None:
    population = make_population(["a", "b", "c"], seed=seed)
    reference = public_reference(seed)
    agreed = router_of(reference, max_members=64, most_questions=80)
    numbers = {name: number for number, name in enumerate(population.organizations)}
    sums = {
        name: agreed.collect(agreed.features.of([row.question for row in rows]), numbers[name])
        for name, rows in population.organizations.items()
    }
    router = AdditiveRouter(agreed, sums, numbers, decode(reference)["rows"])
    router.fit(cast(Blocks, SimpleNamespace(blocks=tuple(numbers))))
    strangers = router.route([row.question for row in population.held_out])
    assert [choice.organization for choice in strangers].count(None) > 0.75 * len(strangers)
    shared = {row.question for row in population.shared}
    for name, rows in population.organizations.items():
        own = router.route([row.question for row in rows if row.question not in shared])
        assert [choice.organization for choice in own] == [name] * len(own)
