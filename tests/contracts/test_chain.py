"""Logs from providers that answer only for so many blocks at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from rescind.contracts import Chain, ChainUnavailable
from rescind.contracts.checksum import checksum_address

ADDRESS = checksum_address("0x" + "0a" * 20)
LOG = {
    "address": ADDRESS.lower(),
    "topics": ["0x" + "01" * 32],
    "data": "0x",
    "transactionHash": "0x" + "02" * 32,
}


@dataclass(frozen=True)
class Provider:
    """A node with one log in each block, which returns at most `most` blocks at once."""

    most: int

    def send(self, method: str, parameters: Any) -> Any:
        (wanted,) = parameters
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        if last - first >= self.most:
            error = {"code": -32005, "message": "query returned more than 10000 results"}
            return {"jsonrpc": "2.0", "id": 1, "error": error}
        logs = [{**LOG, "blockNumber": hex(n)} for n in range(first, last + 1)]
        return {"jsonrpc": "2.0", "id": 1, "result": logs}


def chain(most: int) -> Chain:
    return Chain("http://localhost", transport=Provider(most))


@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_range_that_is_refused_is_halved(most: int) -> None:
    logs = chain(most).logs([ADDRESS], 5, 25)
    assert [log.block for log in logs] == list(range(5, 26))


def test_an_empty_range_is_not_asked_for() -> None:
    assert chain(0).logs([ADDRESS], 6, 5) == []


def test_a_provider_that_refuses_a_single_block_is_reported() -> None:
    with pytest.raises(ChainUnavailable, match="events of block 5"):
        chain(0).logs([ADDRESS], 5, 9)
