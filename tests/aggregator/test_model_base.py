"""A model is summed from the one before it, with the same bytes as from all contributions."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.aggregator.digests import Digests
from rescind.aggregator.facts import ModelFact
from rescind.aggregator.model_base import ModelBase, Share
from rescind.core import Opening, Term, decode_openings
from rescind.core.adapter_stream import adapter_bytes
from tests.support.consortium import micro_parameters
from tests.support.models_of_blocks import Blocks

MEMBERS = 4


class Aggregator:
    """The contributions of two rounds; the model of the first is built."""

    def __init__(self, folder: Path) -> None:
        self.blocks = Blocks(folder, micro_parameters(), MEMBERS)
        self.blocks.play(1)
        files = self.blocks.publish(1)
        self.fact = ModelFact(1, ("c0",), files.adapter_id, files.opening_id)
        self.first = [term for terms in self.blocks.terms.values() for term, _ in terms]
        self.store = self.blocks.published
        self.digests = Digests(self.store)
        self.loaded: list[str] = []
        self.session: Any = SimpleNamespace(
            store=self.store, parameters=self.blocks.parameters, digests=self.digests
        )

    def base(self) -> ModelBase | None:
        return ModelBase.load(self.session, self.fact, self.first)

    def load(self, artifact: str) -> Any:
        self.loaded.append(artifact)
        return self.store.load(artifact)

    def build(
        self, shares: dict[str, Share], base: ModelBase | None
    ) -> tuple[bytes, dict[str, Opening]]:
        load = base.loader(self.load) if base else self.load
        groups = {name: share.terms for name, share in shares.items()}
        pieces = adapter_bytes(groups, self.blocks.parameters.delta_shapes(), load)
        openings = {name: share.opening(self.digests.of) for name, share in shares.items()}
        return b"".join(pieces), openings


@pytest.fixture
def aggregator(tmp_path: Path) -> Aggregator:
    return Aggregator(tmp_path)


def owned(blocks: Blocks, out: tuple[str, ...] = ()) -> dict[str, list[Term]]:
    return {
        name: [term for term, _ in terms]
        for name, terms in blocks.terms.items()
        if terms[0][0].organization not in out
    }


def test_a_round_reads_only_its_own_contributions(aggregator: Aggregator) -> None:
    blocks = aggregator.blocks
    blocks.play(2, blocks.people[1:3])
    base = aggregator.base()
    shares = {name: Share.of(name, terms, base) for name, terms in owned(blocks).items()}
    data, openings = aggregator.build(shares, base)
    assert sorted(aggregator.loaded) == sorted(
        terms[1][0].artifact_id for terms in blocks.terms.values() if len(terms) == 2
    )
    files = blocks.publish(2)
    assert data == aggregator.store.get(files.adapter_id)
    assert openings == decode_openings(aggregator.store.get(files.opening_id))


def test_a_removal_reads_no_contribution(aggregator: Aggregator) -> None:
    blocks, base = aggregator.blocks, aggregator.base()
    left = owned(blocks, out=(blocks.people[2],))
    shares = {name: Share.of(name, terms, base) for name, terms in left.items()}
    data, _ = aggregator.build(shares, base)
    assert aggregator.loaded == []
    files = blocks.publish(2, out=(blocks.people[2],))
    assert data == aggregator.store.get(files.adapter_id)


def test_a_block_whose_earlier_contributions_changed_is_summed_from_all(
    aggregator: Aggregator,
) -> None:
    """A replacement, or another weight: the block of the model before holds what is out."""
    base = aggregator.base()
    (name, terms), *_ = owned(aggregator.blocks).items()
    changed = [replace(terms[0], weight=terms[0].weight - 1)]
    assert Share.of(name, changed, base) == Share(name, changed)
    assert Share.of(name, [], base).base is None
    assert Share.of("0xstranger", terms, base).base is None
    assert Share.of(name, terms, None).terms == terms


def test_the_same_contribution_twice_counts_twice(aggregator: Aggregator) -> None:
    (name, terms), *_ = owned(aggregator.blocks).items()
    assert Share.of(name, [*terms, *terms], aggregator.base()).new == terms


def test_a_model_that_is_incomplete_or_damaged_is_no_base(aggregator: Aggregator) -> None:
    whole = aggregator.fact
    aggregator.fact = replace(whole, problem="a block is left out")
    assert aggregator.base() is None
    aggregator.fact = replace(whole, adapter_id="", opening_id="")
    assert aggregator.base() is None
    aggregator.fact = whole
    path = Path(aggregator.store._path(whole.adapter_id))
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert aggregator.base() is None
