"""Calls that pass through the proxy, and the ways in which they fail."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Call:
    """One JSON-RPC request."""

    method: str
    params: tuple[Any, ...] = ()


Forward = Callable[[Call], Any]
"""Passes a call on towards the node, and returns the result."""


class Refusal(Exception):
    """An error of JSON-RPC, with the HTTP status that it comes with."""

    def __init__(self, code: int, message: str, data: Any = None, *, status: int = 200) -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data
        self.status = status


class Broken(Exception):
    """An HTTP answer that holds no JSON-RPC.

    Args:
        body: The answer's bytes.
        status: Its status.
        headers: Headers besides those of length and type.
        cut: Close the connection after the bytes, although more were promised.
    """

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
    ) -> None:
        super().__init__(f"status {status}")
        self.body, self.status, self.headers, self.cut = body, status, dict(headers or {}), cut


class Cut(Exception):
    """An answer whose end is missing.

    Args:
        document: The JSON-RPC answer that would have been whole.
        closed: Close the connection in the middle, instead of an answer that looks complete.
    """

    def __init__(self, result: Any, *, closed: bool) -> None:
        super().__init__("cut")
        self.result, self.closed = result, closed


class Mode:
    """One way to misbehave.

    Attributes:
        name: The mode's name.
        default: Its amount, such as blocks or seconds, unless another one is chosen.
        methods: The calls that may be hit; empty for all.

    Args:
        rate: Probability that a call is hit.
        amount: The mode's amount; None for the default.
        seed: Seed of the draws.
    """

    name: ClassVar[str]
    default: ClassVar[float] = 0
    methods: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, rate: float = 1.0, amount: float | None = None, seed: int = 0) -> None:
        self.rate = rate
        self.amount = self.default if amount is None else amount
        self.random = random.Random(f"{seed}|{self.name}")
        self.counts: Counter[str] = Counter()
        self.lock = threading.RLock()

    def answer(self, call: Call, forward: Forward) -> Any:
        """Return the result of a call, changed or not."""
        raise NotImplementedError

    def hits(self, call: Call) -> bool:
        """Draw whether a call is hit. Does not count it."""
        if self.methods and call.method not in self.methods:
            return False
        with self.lock:
            return self.rate >= 1 or self.random.random() < self.rate

    def count(self) -> None:
        """Count a fault."""
        with self.lock:
            self.counts[self.name] += 1

    def refuse(self, code: int, message: str, data: Any = None, *, status: int = 200) -> Refusal:
        """Count a fault, and return the error that reports it."""
        self.count()
        return Refusal(code, message, data, status=status)

    def drawn(self, words: tuple[Any, ...]) -> Any:
        """Return one of several wordings."""
        with self.lock:
            return self.random.choice(words)

    @property
    def blocks(self) -> int:
        """The amount as a number of blocks or bytes."""
        return int(self.amount)


def missing(method: str) -> tuple[int, str]:
    """Return code and words for a method that a node does not have."""
    return -32601, f"the method {method} does not exist/is not available"


def head(forward: Forward) -> int:
    """Return the number of the newest block."""
    return int(forward(Call("eth_blockNumber")), 16)


BLOCK_PARAMETERS = {
    "eth_call": 1,
    "eth_estimateGas": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getProof": 2,
    "eth_getStorageAt": 2,
    "eth_getTransactionCount": 1,
}
"""Methods that read a state, with the place of their block among the parameters."""


def block_of(call: Call) -> Any:
    """Return the block that a call reads at: a tag, a number in hexadecimal, or None."""
    place = BLOCK_PARAMETERS.get(call.method)
    if call.method in ("eth_getBlockByNumber", "eth_getBlockTransactionCountByNumber"):
        place = 0
    if call.method == "eth_feeHistory":
        place = 1
    return call.params[place] if place is not None and len(call.params) > place else None


def number_of(block: Any) -> int | None:
    """Return a block's number; None for a tag."""
    return int(block, 16) if isinstance(block, str) and block.startswith("0x") else None


def at_block(call: Call, block: str) -> Call:
    """Return a call that reads at another block."""
    place = BLOCK_PARAMETERS.get(call.method, 1 if call.method == "eth_feeHistory" else 0)
    params = list(call.params[: place + 1])
    if len(params) == place:
        params.append(block)
    params[place] = block
    return Call(call.method, (*params, *call.params[place + 1 :]))
