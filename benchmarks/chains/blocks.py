"""Measure what blocks of other traffic cost a reader of events: `python -m benchmarks.chains.blocks`.

A consortium plays a round on Anvil, then others fill blocks, each with an event of a contract that is
not ours. Then the events are read as a node and an auditor read them, through a provider that answers
for at most 2,000 blocks at once. The old way, one query for each question over all blocks since the
deployment, halved where the provider refuses, runs beside them, one way after the other, over and
over.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.wire.measuring import processor, table
from rescind.contracts import Chain, Consortium, ContractsMissing, Deployment, EventIndex
from rescind.contracts.rpc import NodeRefused
from rescind.contracts.transport import HttpTransport
from tests.support.chain import Anvil, start_anvil
from tests.support.consortium import ChainConsortium, make_consortium

RESULTS = Path(__file__).parent / "results"
_EMITTER = "0x67600060006000a100600052600860186000f3"
"""Creation code of a contract that logs one empty event when it is called."""


@dataclass
class Provider:
    """A provider that limits queries for logs and takes its time."""

    url: str
    most: int
    latency: float
    requests: int = 0
    transport: HttpTransport = field(init=False)

    def __post_init__(self) -> None:
        self.transport = HttpTransport(self.url)

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        self.requests += 1
        time.sleep(self.latency)
        if method == "eth_getLogs" and "fromBlock" in parameters[0]:
            first, last = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
            if last - first >= self.most:
                error = {"code": -32602, "message": f"at most {self.most} blocks at once"}
                return {"jsonrpc": "2.0", "id": 1, "error": error}
        return self.transport.send(method, parameters)


def questions(reader: Consortium) -> list[object]:
    """Ask for every kind of event that nodes and auditors ask for."""
    with reader.chain.at_one_block():
        hashes = [each.parts.point_hashes[0] for each in reader.contributions(1)]
        return [
            list(reader.events()),
            reader.judgement(1),
            reader.offers(),
            reader.publications(1),
            reader.admitted(),
            reader.aggregators(),
            reader.withdrawal_order(),
            reader.fingerprint_claims(f"{1:064x}", 600),
            reader.points(hashes),
        ]


class OneQueryEach:
    """The old way: an index that keeps nothing."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self._deployment = chain, deployment

    def logs(self, addresses: Sequence[str], topics: Sequence[Any], first: int, head: Any) -> Any:
        last = head if isinstance(head, int) else head.number
        return self._range(addresses, _hexadecimal(topics), first, last)

    def _range(self, addresses: Sequence[str], topics: Any, first: int, last: int) -> list[Any]:
        wanted = {
            "address": list(addresses),
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "topics": topics,
        }
        with suppress(NodeRefused):
            return [each.log() for each in self._chain.rpc.request("eth_getLogs", wanted).list()]
        middle = (first + last) // 2
        return [
            *self._range(addresses, topics, first, middle),
            *self._range(addresses, topics, middle + 1, last),
        ]

    def read_again(self, _: int) -> bool:
        return False


def _hexadecimal(topics: Sequence[Any]) -> list[Any]:
    def text(topic: Any) -> Any:
        if topic is None:
            return None
        return "0x" + topic.hex() if isinstance(topic, bytes) else [text(each) for each in topic]

    return [text(each) for each in topics]


@dataclass
class Way:
    """A way to read the events.

    Attributes:
        name: Its name.
        open: Returns the reader, over a provider.
        seconds: How long it took each time.
        requests: How many requests it took.
    """

    name: str
    open: Callable[[Chain], Consortium]
    seconds: list[float] = field(default_factory=list)
    requests: int = 0

    def measure(self, url: str, options: argparse.Namespace) -> list[object]:
        provider = Provider(url, options.most_blocks, options.latency_ms / 1000)
        reader = self.open(Chain(url, transport=provider))
        began = time.perf_counter()
        answers = questions(reader)
        self.seconds.append(time.perf_counter() - began)
        self.requests = provider.requests
        return answers

    def to_json(self) -> dict[str, Any]:
        median = round(statistics.median(self.seconds), 4)
        times = [round(each, 4) for each in self.seconds]
        return {"name": self.name, "requests": self.requests, "median_s": median, "seconds": times}


def ways(deployment: Deployment, folder: Path) -> list[Way]:
    def with_index(chain: Chain, name: str) -> Consortium:
        copy = folder / "copy.db"
        for each in folder.glob("copy.db*"):
            each.unlink()
        shutil.copyfile(folder / name, copy)
        return Consortium(chain, deployment, index=EventIndex(chain, deployment, copy))

    def old(chain: Chain) -> Consortium:
        index: Any = OneQueryEach(chain, deployment)
        return Consortium(chain, deployment, index=index)

    return [
        Way("node, index up to the traffic", lambda chain: with_index(chain, "events.db")),
        Way("node, index up to the newest block", lambda chain: with_index(chain, "newest.db")),
        Way("auditor, no index", lambda chain: Consortium(chain, deployment)),
        Way("one query for each question", old),
    ]


def play(anvil: Anvil, seed: int) -> ChainConsortium:
    consortium = make_consortium(anvil, members=4)
    consortium.play_round(np.random.default_rng(seed))
    return consortium


def fill(anvil: Anvil, blocks: int) -> None:
    """Let others fill blocks, each with a transaction that logs an event."""
    sender = anvil.rpc("eth_accounts")[0]  # type: ignore[index]
    anvil.rpc("evm_setAutomine", False)

    def mined(**transaction: str) -> object:
        fields = {"from": sender, "gas": hex(10**6), **transaction}
        sent = anvil.rpc("eth_sendTransaction", fields)
        anvil.rpc("evm_mine")
        return sent

    receipt = anvil.rpc("eth_getTransactionReceipt", mined(data=_EMITTER))
    emitter = receipt["contractAddress"]  # type: ignore[index]
    for _ in range(blocks - 1):
        mined(to=emitter)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with start_anvil(seed=options.seed) as anvil, tempfile.TemporaryDirectory() as name:
        folder, consortium = Path(name), play(anvil, options.seed)
        deployment = consortium.deployment
        index = EventIndex(anvil.chain, deployment, folder / "events.db")
        questions(Consortium(anvil.chain, deployment, index=index))
        index.close()
        before = anvil.chain.final_block_number()
        fill(anvil, options.blocks)
        if anvil.chain.final_block_number() != before + options.blocks:
            raise SystemExit("the chain did not mine one block for each transaction")
        index = EventIndex(anvil.chain, deployment, folder / "newest.db")
        questions(Consortium(anvil.chain, deployment, index=index))
        index.close()
        measured = ways(deployment, folder)
        for _ in range(options.repeats):
            answers = [way.measure(anvil.url, options) for way in measured]
            if any(each != answers[0] for each in answers):
                raise ContractsMissing("the ways do not read the same events")
        events = len(answers[0][0])  # type: ignore[arg-type]
    return {**setting(options), "events": events, "ways": [each.to_json() for each in measured]}


def setting(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **{name: value for name, value in vars(options).items() if name != "json"},
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("rescind", "urllib3", "eth-abi")},
        "chain": "Anvil over loopback",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000, help="blocks of others' traffic")
    parser.add_argument("--most-blocks", type=int, default=2_000, help="the provider's limit")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to each request")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    results = measure(options)
    rows = [
        [
            way["name"],
            f"{way['median_s']:.3f}",
            f"{min(way['seconds']):.3f} to {max(way['seconds']):.3f}",
            str(way["requests"]),
        ]
        for way in results["ways"]
    ]
    print(table(["way", "seconds (median)", "range", "requests"], rows))
    path = options.json or RESULTS / f"blocks-{options.latency_ms:g}ms.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
