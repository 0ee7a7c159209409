"""The time of a chain, between blocks and with nodes that lack the block "pending"."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from rescind.contracts.blocks import Header
from rescind.contracts.clock import ChainClock
from tests.support.chain import start_anvil
from tests.support.scripted_chain import Block, ScriptedChain

HOUR = 3600


class Stopwatch:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


def header(number: int, seconds: int) -> Header:
    return Header(number, f"0x{number:064x}", f"0x{number - 1:064x}", seconds)


def test_time_goes_on_between_blocks() -> None:
    watch = Stopwatch()
    clock = ChainClock(watch)
    assert clock.saw(header(1, 1000)) == 1000
    watch.seconds += 61.5
    assert clock.saw(header(1, 1000)) == 1061


def test_a_new_block_sets_the_time() -> None:
    watch = Stopwatch()
    clock = ChainClock(watch)
    clock.saw(header(1, 1000))
    watch.seconds += 100
    assert clock.saw(header(2, 5000)) == 5000
    watch.seconds += 1
    assert clock.saw(header(3, 1050)) == 1050


def test_a_back_end_that_lags_does_not_take_the_time_back() -> None:
    watch = Stopwatch()
    clock = ChainClock(watch)
    clock.saw(header(1, 1000))
    watch.seconds += 12
    clock.saw(header(2, 1012))
    watch.seconds += 12
    assert clock.saw(header(1, 1000)) == clock.saw(header(2, 1012)) == 1024


def test_the_last_block_gives_the_time_while_no_node_answers() -> None:
    watch = Stopwatch()
    clock = ChainClock(watch)
    assert clock.without_a_node() == 0
    clock.saw(header(1, 1000))
    watch.seconds += 90
    assert clock.without_a_node() == 1090


def test_old_blocks_are_forgotten() -> None:
    clock = ChainClock()
    for number in range(1, 200):
        clock.saw(header(number, number))
    assert len(clock._seen) == 64


class WithoutPending(ScriptedChain):
    """A node that answers with an error for the block "pending"."""

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        if parameters and parameters[0] == "pending":
            self.asked.append((method, parameters))
            error = {"code": -32602, "message": "invalid block tag: pending"}
            return {"jsonrpc": "2.0", "id": 1, "error": error}
        return super().send(method, parameters)


def test_a_node_without_the_pending_block_has_a_time() -> None:
    scripted = WithoutPending()
    scripted.mine((), (), seconds=HOUR)
    chain = scripted.chain()
    assert chain.now() == chain.now() == 2 * HOUR
    assert [parameters[0] for _, parameters in scripted.asked] == ["latest", "pending", "latest"]


@pytest.mark.parametrize(
    ("pending", "expected"), [(None, 24), (24, 24), (90, 90), (0, 24)], ids=str
)
def test_the_pending_block_counts_where_it_is_ahead(pending: int | None, expected: int) -> None:
    scripted = ScriptedChain()
    scripted.mine((), ())
    scripted.pending = None if pending is None else Block(3, "0x", time=pending)
    assert scripted.chain().now() == expected


@pytest.mark.parametrize("hours", [1, -1])
def test_the_chains_clock_counts_and_not_this_machines(hours: int) -> None:
    begin = int(time.time()) + hours * HOUR
    with start_anvil(seed=70 + hours, options=["--timestamp", str(begin)]) as anvil:
        assert 0 <= anvil.chain.now() - begin < 60
        anvil.pass_time(120)
        assert 120 <= anvil.chain.now() - begin < 180
        anvil.chain._no_pending_until = float("inf")
        assert 120 <= anvil.chain.now() - begin < 180


def test_time_goes_on_where_blocks_come_only_on_demand() -> None:
    with start_anvil(seed=71, options=["--no-mining"]) as anvil:
        watch = Stopwatch()
        anvil.chain.clock = ChainClock(watch)
        anvil.chain._no_pending_until = float("inf")
        begin = anvil.chain.now()
        watch.seconds += 30
        assert anvil.chain.now() == begin + 30
