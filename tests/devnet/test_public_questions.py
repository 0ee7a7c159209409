"""Public questions are the same for a seed, each once, and about nobody whom an organization knows."""

from __future__ import annotations

from rescind.core import artifact_id, decode
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics, reference_bytes, reference_id
from rescind.devnet.people import make_population
from rescind.devnet.public_questions import public_questions


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
