"""Reorganizations of a real chain: a daemon's reader, its index and an auditor see the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import Chain, Consortium, Event, EventIndex
from tests.support.chain import Anvil, start_anvil
from tests.support.consortium import ChainConsortium, make_consortium

DEPTH = 64


@pytest.fixture(scope="module")
def chain() -> Iterator[Anvil]:
    with start_anvil(seed=64) as anvil:
        yield anvil


@pytest.fixture(scope="module")
def consortium(chain: Anvil) -> ChainConsortium:
    return make_consortium(chain, members=2)


def daemon(consortium: ChainConsortium, path: Path | None, confirmations: int) -> Consortium:
    """Return a reader as a daemon has it."""
    chain = Chain(consortium.anvil.url, confirmations=confirmations)
    index = EventIndex(chain, consortium.deployment, path)
    return Consortium(chain, consortium.deployment, index=index)


def seen(reader: Consortium) -> tuple[int, list[Event], list[str]]:
    """Return rounds, events and points as a daemon reads them at one block."""
    with reader.chain.at_one_block():
        rounds = reader.current_round_id()
        points = [
            each.parts.point_hashes[0]
            for number in range(1, rounds + 1)
            for each in reader.contributions(number)
        ]
        assert set(reader.points(points)) == set(points)
        return rounds, list(reader.events()), points


def agree(consortium: ChainConsortium, own: Consortium, path: Path) -> tuple[int, list[Event]]:
    """Compare what a daemon, its file and an auditor with nothing read; return rounds and events."""
    confirmations = own.chain.confirmations
    rounds, events, points = seen(own)
    for other in (path, None):
        assert seen(daemon(consortium, other, confirmations)) == (rounds, events, points)
    return rounds, events


@pytest.mark.slow
def test_with_64_confirmations_a_reorganization_of_64_blocks_changes_nothing(
    consortium: ChainConsortium, tmp_path: Path
) -> None:
    rng, anvil = np.random.default_rng(0), consortium.anvil
    own = daemon(consortium, tmp_path / "events.db", DEPTH)
    consortium.play_round(rng)
    anvil.rpc("anvil_mine", hex(DEPTH))
    before = agree(consortium, own, tmp_path / "events.db")
    consortium.play_round(rng)
    anvil.rpc("anvil_mine", hex(DEPTH - 10))
    rounds, events = agree(consortium, own, tmp_path / "events.db")
    newest = anvil.chain.block_hash(anvil.chain.final_block_number() - DEPTH + 1)
    anvil.rpc("anvil_reorg", DEPTH, [])
    assert anvil.chain.block_hash(anvil.chain.final_block_number() - DEPTH + 1) != newest
    assert agree(consortium, own, tmp_path / "events.db") == (rounds, events)
    anvil.rpc("anvil_mine", hex(2 * DEPTH))
    rounds, events = agree(consortium, own, tmp_path / "events.db")
    assert events[: len(before[1])] == before[1]


@pytest.mark.parametrize("depth", [3, DEPTH])
def test_without_confirmations_the_readers_agree_on_what_is_left(
    consortium: ChainConsortium, tmp_path: Path, depth: int
) -> None:
    path = tmp_path / "events.db"
    own = daemon(consortium, path, 0)
    consortium.anvil.rpc("anvil_mine", hex(DEPTH))
    rounds, events = agree(consortium, own, path)
    founder = consortium.of(consortium.founder)
    for n in range(3):
        founder.fund(1 + n)
    assert len(agree(consortium, own, path)[1]) == len(events) + 3
    consortium.anvil.rpc("anvil_reorg", depth, [])
    assert agree(consortium, own, path) == (rounds, events)
    founder.fund(7)
    assert len(agree(consortium, own, path)[1]) == len(events) + 1
