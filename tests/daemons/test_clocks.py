"""Daemons on chains whose clock is an hour off, and whose blocks come only with transactions."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tomli_w

from rescind.contracts import RoundState
from rescind.devnet import chain as devnet_chain
from tests.support.daemons import Daemon, consortium, finals, start_nodes, wait_for
from tests.support.lying_rpc import lying_rpc

pytestmark = pytest.mark.slow
HOUR = 3600


@contextmanager
def clock_off_by(seconds: int) -> Iterator[None]:
    """Start chains whose clock differs from this machine's."""
    spawn = devnet_chain._spawn

    def spawned(command: list[str], log: Path) -> int:
        return spawn([*command, "--timestamp", str(int(time.time()) + seconds)], log)

    with mock.patch.object(devnet_chain, "_spawn", spawned):
        yield


@pytest.mark.parametrize("hours", [1, -1])
def test_a_round_is_played_though_the_clocks_are_an_hour_apart(tmp_path: Path, hours: int) -> None:
    with clock_off_by(hours * HOUR), consortium(tmp_path, 1) as (run, record, daemons):
        apart = record.chain.latest().time - time.time()
        assert abs(apart - hours * HOUR) < 600, "the chain's clock is not off"
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("a round", lambda: finals(record) == 1)
        assert record.current_round_id() == 1, "a round was lost"
        assert len(record.accepted(1)) == 2


def without_pending(method: str, parameters: list[Any], result: Any) -> Any:
    return None if method == "eth_getBlockByNumber" and parameters[0] == "pending" else result


def use(daemons: Mapping[str, Daemon], url: str) -> None:
    """Let the daemons reach the chain by another URL."""
    for daemon in daemons.values():
        content = tomllib.loads(daemon.config.read_text())
        content["chain"]["rpc_url"] = url
        daemon.config.write_text(tomli_w.dumps(content))


def test_deadlines_pass_though_no_block_comes_and_none_is_pending(tmp_path: Path) -> None:
    with (
        consortium(tmp_path, 1, terms={"commit_seconds": 10}) as (run, record, daemons),
        lying_rpc(record.chain.rpc_url, without_pending) as url,
    ):
        use(daemons, url)
        _, absent = start_nodes(run, daemons)
        wait_for("both members", lambda: len(record.active_members()) == 2)
        absent.stop()
        daemons["aggregator"].start()

        def closed() -> bool:
            return bool(record.current_round_id()) and record.round(1).state is not RoundState.OPEN

        wait_for("the end of the phase of commitments", closed)
        assert not record.all_answered(1), "it ended by its deadline"
