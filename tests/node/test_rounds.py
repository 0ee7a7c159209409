from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.core import (
    ArtifactMalformed,
    ArtifactStore,
    ArtifactWrongDigest,
    ConsortiumParameters,
    OutOfBounds,
    Term,
    Totals,
    adapter_totals,
    by_round,
    decode,
    digest,
    encode,
    owner,
    qualify,
    served_of,
    weights,
)
from rescind.daemon import Journal
from rescind.node.facts import CheckedSum
from rescind.node.rounds import start_of_terms
from tests.support.consortium import micro_parameters

A, B, C = (f"0x{letter * 40}" for letter in "abc")


class World:
    """Registered deltas, and an aggregator that sums them; `change` alters its sums."""

    def __init__(self, folder: Path, parameters: ConsortiumParameters) -> None:
        self.parameters = parameters
        self.store = ArtifactStore(folder / "aggregator")
        self.roots: dict[str, Any] = {}
        self.asked = 0
        self.change: Callable[[Totals], Totals] = lambda totals: totals
        rng, self.terms = np.random.default_rng(4), []
        for number, organizations in ((0, (A,)), (1, (A, B, C)), (2, (A, B))):
            share = weights("shared" if number else "blocks", organizations)
            for organization in organizations:
                prefix = owner(parameters.layout, organization)
                delta = {
                    qualify(prefix, name): rng.integers(-900, 900, shape, dtype=np.int32)
                    for name, shape in parameters.delta_shapes().items()
                }
                delta_digest = digest(delta)
                self.roots[delta_digest.root] = delta_digest
                weight = share[organization] if parameters.layout == "shared" else 10_000
                name = self.store.put(encode(delta))
                self.terms.append(Term(number, organization, name, weight, delta_digest.root))
        self.session: Any = SimpleNamespace(
            me=A,
            parameters=parameters,
            journal=Journal(folder / "node.db"),
            store=ArtifactStore(folder / "node"),
            client=SimpleNamespace(digest=self.roots.get, download=self.download),
        )
        for term in self.terms:
            if term.organization == A:
                self.session.store.put(self.store.get(term.artifact_id))

    def load(self, artifact: str) -> Any:
        return decode(self.store.get(artifact))

    def download(self, artifact: str, limit: int) -> bytes:
        return self.store.get(artifact)

    def listed(self) -> list[str]:
        self.asked += 1
        sums = [adapter_totals(terms, self.load) for terms in by_round(self.terms).values()]
        return [self.store.put(encode(self.change(totals))) for totals in sums]


def agreed(*, federated: bool = True, **choices: object) -> ConsortiumParameters:
    document = micro_parameters(federated=federated).model_dump(mode="json")
    training = {**document["training"], **({"rule": {"name": "scaffold"}} if federated else {})}
    return ConsortiumParameters.model_validate(
        document | {"server": {"name": "fedadam"}, "training": training} | choices
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, agreed())


def test_a_node_applies_the_server_optimizer_to_checked_sums(
    world: World,
) -> None:
    start = start_of_terms(world.session, world.terms, world.listed)
    expected = served_of(world.parameters, world.terms, world.load)
    assert encode(start.adapter) == encode(expected)
    assert start.past is not None
    assert [part.organizations for part in start.past.rounds] == [(A, B, C), (A, B)]
    assert set(start.past.own) == {1, 2}


def test_a_sum_is_downloaded_and_checked_once(world: World) -> None:
    first = start_of_terms(world.session, world.terms, world.listed)
    world.session.client.digest = None
    again = start_of_terms(world.session, world.terms, world.listed)
    assert world.asked == 1
    assert encode(first.adapter) == encode(again.adapter)


def test_a_sum_that_differs_from_the_chain_is_rejected(world: World) -> None:
    def nudged(totals: Totals) -> Totals:
        first = next(iter(totals))
        return {**totals, first: totals[first] + 1}

    world.change = nudged
    with pytest.raises(ArtifactWrongDigest, match="the deltas on chain come to"):
        start_of_terms(world.session, world.terms, world.listed)
    assert not CheckedSum.all(world.session.journal)


def test_missing_sums_are_rejected(world: World) -> None:
    with pytest.raises(ArtifactMalformed, match="names 2 sums, the model has 3 rounds"):
        start_of_terms(world.session, world.terms, lambda: world.listed()[:2])


def test_a_sum_of_other_tensors_is_rejected(world: World) -> None:
    world.change = lambda totals: {f"{name}x": value for name, value in totals.items()}
    with pytest.raises(ArtifactMalformed, match="is not agreed on"):
        start_of_terms(world.session, world.terms, world.listed)


def test_a_sum_above_the_norm_bound_is_rejected(world: World) -> None:
    short = world.parameters.model_copy(update={"clip_norm": 1e-9, "max_rounds": 1})
    world.session.parameters = short
    with pytest.raises(OutOfBounds, match="over the bound"):
        start_of_terms(world.session, world.terms, world.listed)


def test_in_blocks_a_node_starts_from_its_own_deltas_without_asking(tmp_path: Path) -> None:
    world = World(tmp_path, agreed(federated=False))
    start = start_of_terms(world.session, world.terms, world.listed)
    own = [term for term in world.terms if term.organization == A]
    assert encode(start.adapter) == encode(served_of(world.parameters, own, world.load))
    everything = served_of(world.parameters, world.terms, world.load)
    assert all(np.array_equal(value, everything[name]) for name, value in start.adapter.items())
    assert world.asked == 0
