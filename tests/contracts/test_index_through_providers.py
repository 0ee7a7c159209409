"""The index of events through providers that misbehave, in front of a real chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import Chain, ChainUnavailable, Consortium, Event, EventIndex
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium
from tests.support.rpc_proxy import rpc_proxy


@pytest.fixture(scope="module")
def consortium(running_anvil: Anvil) -> Iterator[ChainConsortium]:
    with running_anvil.rewound():
        played = make_consortium(running_anvil, members=2)
        running_anvil.rpc("anvil_mine", hex(40))
        played.play_round(np.random.default_rng(0))
        yield played


def reader(consortium: ChainConsortium, url: str, path: Path | None = None) -> Consortium:
    chain = Chain(url)
    index = EventIndex(chain, consortium.deployment, path, pause=lambda _: None)
    return Consortium(chain, consortium.deployment, index=index)


def seen(consortium: Consortium) -> tuple[int, list[Event], set[str]]:
    """Return the block that is read, and its events and points."""
    with consortium.chain.at_one_block() as block:
        assert consortium.chain.now() > 0
        assert consortium.offers() == []
        hashes = [each.parts.point_hashes[0] for each in consortium.contributions(1)]
        return block, list(consortium.events()), set(consortium.points(hashes))


@pytest.mark.parametrize(
    "modes",
    [
        ("log-range=10",),
        ("log-range=1",),
        ("log-results=2",),
        ("two-back-ends=3",),
        ("stale-head=3@0.5",),
        ("pending", "safe", "finalized", "long-extra-data"),
        ("log-range=10", "two-back-ends=2", "limit-exceeded@0.05"),
    ],
    ids=" ".join,
)
def test_events_are_read_through_a_provider_that_misbehaves(
    consortium: ChainConsortium, modes: tuple[str, ...], tmp_path: Path
) -> None:
    _, expected, points = seen(reader(consortium, consortium.anvil.url))
    assert points
    with rpc_proxy(consortium.anvil.url, *modes) as proxy:
        own = reader(consortium, proxy.url, tmp_path / "events.db")
        for _ in range(5):
            consortium.anvil.rpc("evm_mine")
            try:
                block, events, own_points = seen(own)
            except ChainUnavailable:
                continue  # A daemon looks again.
            assert events == [each for each in expected if each.block <= block]
            assert own_points <= points
    assert seen(reader(consortium, consortium.anvil.url, tmp_path / "events.db"))[1] == expected


def test_a_node_without_the_state_of_old_blocks_says_what_to_do(
    consortium: ChainConsortium,
) -> None:
    consortium.anvil.rpc("anvil_mine", hex(20))
    with rpc_proxy(consortium.anvil.url, "no-archive=10") as proxy:
        near = Consortium(Chain(proxy.url, confirmations=5), consortium.deployment)
        assert near.current_round_id() == 1
        deep = Consortium(Chain(proxy.url, confirmations=15), consortium.deployment)
        assert len(list(deep.events())) > 0, "events need no old state"
        with pytest.raises(ChainUnavailable, match=r"missing trie node.*confirmations below 128"):
            deep.current_round_id()
