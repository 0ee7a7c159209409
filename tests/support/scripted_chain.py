"""A chain in memory behind the JSON-RPC methods that an event index asks, with a provider's faults."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rescind.contracts import Chain, Deployment
from rescind.contracts.checksum import checksum_address
from rescind.contracts.deployment import NAMES
from rescind.contracts.providers import Waiting

ADDRESSES = [checksum_address("0x" + f"{n:02x}" * 20) for n in range(1, len(NAMES) + 1)]
TOPICS = ["0x" + f"{n:02x}" * 32 for n in range(16)]


def deployment(block: int = 1) -> Deployment:
    """Return contracts at `ADDRESSES`, created in a block."""
    names = [name.lower() for name in NAMES]
    fields = dict(zip(names, ADDRESSES, strict=True))
    return Deployment.model_validate({"chain_id": 1, "block": block, **fields})


@dataclass(frozen=True)
class Block:
    """A block: `logs` are pairs of a contract's and a topic's number."""

    number: int
    parent: str
    logs: tuple[tuple[int, int], ...] = ()
    salt: int = 0
    time: int = 0

    @cached_property
    def hash(self) -> str:
        fields = (self.number, self.parent, self.logs, self.salt, self.time)
        return "0x" + hashlib.sha256(repr(fields).encode()).hexdigest()

    def documents(self) -> list[dict[str, Any]]:
        """Return the logs as a node answers them."""
        return [
            {
                "address": ADDRESSES[contract].lower(),
                "topics": [TOPICS[topic], TOPICS[place % 4]],
                "data": "0x" + f"{self.salt % 256:02x}" * 8,
                "blockNumber": hex(self.number),
                "blockHash": self.hash,
                "logIndex": hex(place),
                "transactionHash": "0x"
                + hashlib.sha256(f"{self.hash}{place}".encode()).hexdigest(),
                "removed": False,
            }
            for place, (contract, topic) in enumerate(self.logs)
        ]


@dataclass
class ScriptedChain:
    """A transport over a chain in memory.

    Attributes:
        blocks: The chain, from the genesis block on.
        most: Most blocks that one question for logs may span.
        lags: How many blocks the back end of each next request lags; repeated.
        cut: Number of logs after which an answer ends without a word; 0 for none.
        asked: Every request.
        before: Called before each request is answered, with its number.
        pending: The block that the node answers for "pending"; None for null.
    """

    blocks: list[Block] = field(default_factory=lambda: [Block(0, "0x" + "00" * 32)])
    most: int = 10**9
    lags: Sequence[int] = (0,)
    cut: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)
    before: Callable[[int], None] = lambda _: None
    pending: Block | None = None
    salt: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def head(self) -> int:
        return self.blocks[-1].number

    def chain(self, confirmations: int = 0) -> Chain:
        """Return a client, for which no time passes while it waits."""
        chain = Chain("http://localhost", transport=self, confirmations=confirmations)
        seconds = [0.0]

        def pause(length: float) -> None:
            seconds[0] += length

        chain.rpc.waiting = Waiting(clock=lambda: seconds[0], pause=pause, jitter=lambda: 1.0)
        return chain

    def mine(self, *logs: Sequence[tuple[int, int]], seconds: int = 12) -> None:
        """Add a block for each list of logs."""
        for each in logs:
            top = self.blocks[-1]
            block = Block(top.number + 1, top.hash, tuple(each), self.salt, top.time + seconds)
            self.blocks.append(block)

    def reorganize(self, depth: int, *logs: Sequence[tuple[int, int]]) -> None:
        """Replace the newest blocks by others."""
        self.salt += 1
        del self.blocks[max(1, len(self.blocks) - depth) :]
        self.mine(*logs)

    def count(self, method: str) -> int:
        """Return how often a method was asked."""
        return sum(each == method for each, _ in self.asked)

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        with self.lock:
            return self._answer(method, parameters)

    def _answer(self, method: str, parameters: Sequence[Any]) -> Any:
        self.before(len(self.asked))
        lag = self.lags[len(self.asked) % len(self.lags)]
        self.asked.append((method, parameters))
        view = self.blocks[: max(1, len(self.blocks) - lag)] if lag else self.blocks
        try:
            result = self._answers[method](view, *parameters)
        except LookupError as error:
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": str(error)}}
        return {"jsonrpc": "2.0", "id": 1, "result": result}

    @cached_property
    def _answers(self) -> dict[str, Callable[..., Any]]:
        return {
            "eth_chainId": self._chain_id,
            "eth_blockNumber": self._block_number,
            "eth_getBlockByNumber": self._get_block,
            "eth_getLogs": self._get_logs,
        }

    def _chain_id(self, _: list[Block]) -> str:
        return "0x1"

    def _block_number(self, view: list[Block]) -> str:
        return hex(view[-1].number)

    def _get_block(self, view: list[Block], name: str, _: bool) -> Any:
        if name == "pending":
            block = self.pending
        elif name == "latest":
            block = view[-1]
        else:
            number = int(name, 16)
            block = view[number] if number < len(view) else None
        if block is None:
            return None
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "parentHash": block.parent,
            "timestamp": hex(block.time),
        }

    def _get_logs(self, view: list[Block], wanted: dict[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in wanted:
            matching = (block for block in reversed(view) if block.hash == wanted["blockHash"])
            chosen = list(itertools.islice(matching, 1))
            if not chosen:
                raise LookupError("unknown block")
        else:
            first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
            if last - first >= self.most:
                raise LookupError(f"at most {self.most} blocks")
            chosen = view[first : last + 1]
        logs = [log for block in chosen for log in block.documents()]
        return logs[: self.cut] if self.cut else logs
