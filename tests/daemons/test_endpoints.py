"""Daemons with several endpoints go on when one of them ends."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemons import consortium, finals, start_nodes, wait_for
from tests.support.rpc_proxy import rpc_proxy

pytestmark = pytest.mark.slow


def test_daemons_go_on_when_an_endpoint_ends(tmp_path: Path) -> None:
    with consortium(tmp_path, 2) as (run, record, daemons), ExitStack() as stack:
        chain = record.chain.rpc_url
        other = stack.enter_context(rpc_proxy(chain))
        with rpc_proxy(chain) as first:
            for name, daemon in daemons.items():
                urls = [first.url, other.url, chain]
                agree = 2 if name == "aggregator" else 1
                daemon.configure("chain", rpc_url=urls, agree=agree)
            daemons["aggregator"].start()
            start_nodes(run, daemons)
            wait_for("the first round", lambda: finals(record) == 1)
            assert first.counts()["calls"] > 0
        wait_for("the second round", lambda: finals(record) == 2)
        assert other.counts()["calls"] > 0
        for name, daemon in daemons.items():
            assert daemon.runs, f"{name} ended"
            assert "endpoint passed over" in daemon.log.read_text(), name
        assert all(len(record.accepted(number)) == 2 for number in (1, 2))
