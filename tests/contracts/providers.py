"""Scripted RPC endpoints, and time that passes only when a test lets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rescind.contracts.agreement import AgreedRpc
from rescind.contracts.endpoint import Endpoint
from rescind.contracts.providers import Rpc, Waiting

KEY = "c0ffee1234secret"


@dataclass
class Time:
    """A clock that pauses move on."""

    now: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def waiting(self) -> Waiting:
        return Waiting(lambda: self.now, self.pause, lambda: 1.0)


Reply = Callable[[], Any]


@dataclass
class Node:
    """A node that answers as told.

    Attributes:
        chain_id: Its chain.
        head: Its newest block.
        results: Results by method, instead of the usual ones.
        failures: Replies to the next requests, of any method but eth_chainId: exceptions are
            raised, other values are the whole document.
        down: What happens to every request, as in `failures`.
        asked: The methods that it was asked for.
    """

    chain_id: int = 1
    head: int = 100
    results: dict[str, Any] = field(default_factory=dict)
    failures: list[Any] = field(default_factory=list)
    down: Any = None
    asked: list[str] = field(default_factory=list)
    parameters: list[Sequence[Any]] = field(default_factory=list)

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        self.asked.append(method)
        self.parameters.append(parameters)
        reply = self.down
        if reply is None and self.failures and method != "eth_chainId":
            reply = self.failures.pop(0)
        if isinstance(reply, Exception):
            raise reply
        if reply is not None:
            return reply
        return {"jsonrpc": "2.0", "id": 1, "result": self.result(method, parameters)}

    def result(self, method: str, parameters: Sequence[Any]) -> Any:
        if method in self.results:
            result = self.results[method]
            return result(*parameters) if callable(result) else result
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_blockNumber":
            return hex(self.head)
        if method == "eth_getBlockByNumber":
            named = str(parameters[0])
            return block(int(named, 16) if named.startswith("0x") else self.head)
        return "0x2a"


def block(number: int, **changed: Any) -> dict[str, Any]:
    """A block as nodes answer it."""
    return {
        "number": hex(number),
        "hash": f"0x{number:064x}",
        "timestamp": hex(10 * number),
        "baseFeePerGas": "0x7",
        "transactions": [],
        "size": "0x1f",
        **changed,
    }


def refused(code: int, message: str, data: str | None = None) -> dict[str, Any]:
    """A document of an error."""
    error = {"code": code, "message": message}
    return {"jsonrpc": "2.0", "id": 1, "error": error if data is None else {**error, "data": data}}


def door(
    *nodes: Node, time: Time | None = None, agree: int = 1, expected: int | None = None
) -> Rpc:
    """The door to some nodes, each at a host of its own and with a key in its URL."""
    endpoints = [
        Endpoint(f"https://user:{KEY}@node{n}.example/v3/{KEY}?token={KEY}", node)
        for n, node in enumerate(nodes, 1)
    ]
    waiting = (time or Time()).waiting()
    if agree == 1:
        return Rpc(endpoints, expected_id=expected, waiting=waiting)
    return AgreedRpc(endpoints, agree=agree, expected_id=expected, waiting=waiting)
