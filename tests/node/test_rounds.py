from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.contracts import Entry
from rescind.core import (
    ArtifactMalformed,
    ArtifactStore,
    ConsortiumParameters,
    Opening,
    OpeningMismatch,
    StoreMissing,
    Term,
    Totals,
    adapter_totals,
    by_round,
    commit,
    decode,
    digest,
    encode,
    encode_openings,
    owner,
    point_hash,
    qualify,
    served_of,
    weights,
)
from rescind.daemon import Journal
from rescind.node.facts import CheckedSum, DeltaFact, RoundFacts, Update
from rescind.node.own_deltas import own_terms
from rescind.node.rounds import start_of_entries
from rescind.wire import ModelFiles
from tests.support.consortium import micro_parameters
from tests.support.stored_client import StoredClient

A, B, C = (f"0x{letter * 40}" for letter in "abc")


class World:
    """Registered deltas, and an aggregator that sums them; `change` alters its sums."""

    def __init__(self, folder: Path, parameters: ConsortiumParameters) -> None:
        self.parameters = parameters
        self.store = ArtifactStore(folder / "aggregator")
        self.points: dict[str, bytes] = {}
        self.asked = 0
        self.change: Callable[[Totals], Totals] = lambda totals: totals
        self.session: Any = SimpleNamespace(
            me=A,
            parameters=parameters,
            journal=Journal(folder / "node.db"),
            store=ArtifactStore(folder / "node"),
            consortium=SimpleNamespace(points=lambda hashes: self.points),
            client=StoredClient(self.store),
        )
        rng, self.terms, self.entries = np.random.default_rng(4), [], []
        for number, organizations in ((0, (A,)), (1, (A, B, C)), (2, (A, B))):
            share = weights("shared" if number else "blocks", organizations)
            for organization in organizations:
                weight = share[organization] if parameters.layout == "shared" else 10_000
                self.register(number, organization, weight, rng)

    def register(
        self, number: int, organization: str, weight: int, rng: np.random.Generator
    ) -> None:
        prefix = owner(self.parameters.layout, organization)
        delta = {
            qualify(prefix, name): rng.integers(-900, 900, shape, dtype=np.int32)
            for name, shape in self.parameters.delta_shapes().items()
        }
        point = commit(digest(delta))
        self.points[point_hash(point)] = point
        artifact = self.store.put(encode(delta))
        self.terms.append(Term(number, organization, artifact, weight, point_hash(point)))
        member = (A, B, C).index(organization)
        self.entries.append(Entry(number, organization, member, weight, point_hash(point)))
        if organization == A:
            self.session.store.put(encode(delta))
            # The journal of a node holds its counter-delta as an offer; here a round will do.
            update = Update(DeltaFact(artifact, point.hex(), ""), "00", number)
            RoundFacts(number, update=update).save(self.session.journal)

    def load(self, artifact: str) -> Any:
        return decode(self.store.get(artifact))

    def listed(self) -> list[ModelFiles]:
        self.asked += 1
        return [self.files(terms) for terms in by_round(self.terms).values()]

    def files(self, terms: tuple[Term, ...]) -> ModelFiles:
        digests = [(digest(self.load(term.artifact_id)), term.weight) for term in terms]
        opening = encode_openings([Opening.build("shared", digests)])
        totals = self.change(adapter_totals(terms, self.load))
        return ModelFiles(0, self.store.put(encode(totals)), self.store.put(opening))


def agreed(*, federated: bool = True, **choices: object) -> ConsortiumParameters:
    document = micro_parameters(federated=federated).model_dump(mode="json")
    training = {**document["training"], **({"rule": {"name": "scaffold"}} if federated else {})}
    return ConsortiumParameters.model_validate(
        document | {"server": {"name": "fedadam"}, "training": training} | choices
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, agreed())


def test_a_node_applies_the_server_optimizer_to_checked_sums(world: World) -> None:
    start = start_of_entries(world.session, world.entries, world.listed)
    expected = served_of(world.parameters, world.terms, world.load)
    assert encode(start.adapter) == encode(expected)
    assert start.past is not None
    assert [part.organizations for part in start.past.rounds] == [(A, B, C), (A, B)]
    assert set(start.past.own) == {1, 2}


def test_a_sum_is_downloaded_and_checked_once(world: World) -> None:
    first = start_of_entries(world.session, world.entries, world.listed)
    world.session.client.download_into = None
    again = start_of_entries(world.session, world.entries, world.listed)
    assert world.asked == 1
    assert encode(first.adapter) == encode(again.adapter)


def test_a_sum_that_does_not_open_to_the_chain_is_rejected(world: World) -> None:
    def nudged(totals: Totals) -> Totals:
        first = next(iter(totals))
        return {**totals, first: totals[first] + 1}

    world.change = nudged
    with pytest.raises(OpeningMismatch, match="not the weighted sum"):
        start_of_entries(world.session, world.entries, world.listed)
    assert not CheckedSum.all(world.session.journal)


def test_missing_sums_are_rejected(world: World) -> None:
    with pytest.raises(ArtifactMalformed, match="names 2 sums, the model has 3 rounds"):
        start_of_entries(world.session, world.entries, lambda: world.listed()[:2])


def test_a_sum_of_other_tensors_is_rejected(world: World) -> None:
    world.change = lambda totals: {f"{name}x": value for name, value in totals.items()}
    with pytest.raises(OpeningMismatch, match="not the agreed ones"):
        start_of_entries(world.session, world.entries, world.listed)


def test_a_sum_above_the_norm_bound_is_rejected(world: World) -> None:
    short = world.parameters.model_copy(update={"clip_norm": 1e-9, "max_rounds": 1})
    world.session.parameters = short
    with pytest.raises(OpeningMismatch, match="L2 norm"):
        start_of_entries(world.session, world.entries, world.listed)


def test_in_blocks_a_node_starts_from_its_own_deltas_without_asking(tmp_path: Path) -> None:
    world = World(tmp_path, agreed(federated=False))
    start = start_of_entries(world.session, world.entries, world.listed)
    own = [term for term in world.terms if term.organization == A]
    assert encode(start.adapter) == encode(served_of(world.parameters, own, world.load))
    everything = served_of(world.parameters, world.terms, world.load)
    assert all(np.array_equal(value, everything[name]) for name, value in start.adapter.items())
    assert world.asked == 0


def test_a_delta_that_the_journal_lost_is_reported(world: World) -> None:
    world.session.me = B
    with pytest.raises(StoreMissing, match="your delta of round 1 is not in the node's journal"):
        own_terms(world.session, world.entries)
