"""Answers of an Ethereum node to several questions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rescind.contracts import Chain, ConsortiumReader
from rescind.core.errors import RescindError
from rescind.core.json_text import parse_json
from tests.contracts.providers import Time
from tests.fuzz.statements import DEPLOYMENT
from tests.fuzz.target import Target


class _Answered:
    """A node that answers every request with the same document."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def send(self, _: str, __: Sequence[Any]) -> Any:
        return self._document


def targets() -> Iterator[Target]:
    """Answers of an Ethereum node, read as several things."""

    def ask(data: bytes) -> list[Any]:
        try:
            document = parse_json(data)
        except ValueError as error:
            raise RescindError("the transport refuses it") from error
        chain = Chain("http://127.0.0.1:1", transport=_Answered(document))
        chain.rpc.waiting = Time().waiting()
        reader = ConsortiumReader(chain, DEPLOYMENT)
        found = []
        for question in (
            chain.check,
            chain.now,
            chain.final_block_number,
            lambda: chain.code("0x" + "ab" * 20),
            lambda: chain.block_hash(1),
            lambda: chain.logs(["0x" + "ab" * 20], 1, 1),
            reader.settings,
            reader.auditors,
            reader.latest_model_id,
            lambda: reader.model(1),
            lambda: list(reader.events()),
        ):
            try:
                found.append(question())
            except RescindError:
                continue
        if not found:
            raise RescindError("the answer fits no question")
        return found

    block = {
        "number": "0x1",
        "hash": "0x" + "ab" * 32,
        "parentHash": "0x" + "ab" * 32,
        "timestamp": "0x5",
    }
    log = {
        "address": DEPLOYMENT.members,
        "topics": ["0x" + "ab" * 32],
        "data": "0x",
        "blockNumber": "0x1",
        "blockHash": "0x" + "ab" * 32,
        "logIndex": "0x0",
        "transactionHash": "0x" + "ab" * 32,
    }
    results: list[Any] = ["0x" + "00" * 31 + "01", "0x1", block, [log], "0x" + "00" * 64]
    seeds = [{"jsonrpc": "2.0", "id": 1, "result": result} for result in results]
    yield Target("node-answers", [json.dumps(each).encode() for each in seeds], ask)
