"""A chain as senders of transactions see it: receipts, nonces, fees and refusals of its pool."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from rescind.contracts import transaction_faults as faults
from rescind.contracts.errors import ChainUnavailable, NodeRefused
from rescind.contracts.estimating import estimate_gas
from rescind.contracts.fees import DEFAULT_CEILING_GWEI, GWEI, FeeOracle, Market
from rescind.contracts.outgoing import Outcome

if TYPE_CHECKING:
    from rescind.contracts.chain import Chain

_IDENTITY_SECONDS = 60.0
"""A chain under development may be another one the next time that it starts."""
_MARKET_SECONDS = 1.0


class Clock(Protocol):
    """The time, and pauses."""

    def time(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds of a clock that is never set."""

    def pause(self, seconds: float, stop: threading.Event) -> None:
        """Wait, at most until `stop` is set."""


class SystemClock:
    """The clock of this machine."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def pause(self, seconds: float, stop: threading.Event) -> None:
        stop.wait(seconds)


def tell(text: str) -> None:
    """Log a sentence in a daemon; print it on standard error of a command."""
    if structlog.is_configured():
        structlog.get_logger().warning(text)
    else:
        sys.stderr.write(f"{text}\n")


@dataclass
class SendSettings:
    """How a process sends.

    Attributes:
        max_fee_gwei: Most gwei for a unit of gas. Above it transactions wait.
        by_daemon: Whether a daemon sends, which looks at the chain before it decides.
        stop: Ends every wait when it is set.
        clock: The time.
        tell: Takes sentences for the operator.
    """

    max_fee_gwei: float = DEFAULT_CEILING_GWEI
    by_daemon: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Clock = field(default_factory=SystemClock)
    tell: Callable[[str], None] = tell

    @property
    def ceiling(self) -> int:
        """Most wei for a unit of gas."""
        return int(self.max_fee_gwei * GWEI)


class Verdict(Enum):
    """The answer of a pool to a broadcast."""

    TAKEN = auto()
    """The pool has it."""
    UNKNOWN = auto()
    """There was no clear answer; the pool may have it."""
    NONCE_USED = auto()
    """A transaction with its nonce was mined, this one or another."""
    NONCE_PENDING = auto()
    """The pool holds a transaction with its nonce that pays as much, an older version or another's."""
    TOO_CHEAP = auto()
    """It has to pay more."""
    LATER = auto()
    """The pool may take it later."""
    NO_FUNDS = auto()
    """The account cannot pay it."""
    WRONG_TYPE = auto()
    """The chain has no transactions of EIP-1559."""
    IMPOSSIBLE = auto()
    """No pool with the same limits will ever take it."""


_VERDICTS = {
    faults.ALREADY_KNOWN: Verdict.TAKEN,
    faults.NONCE_TOO_LOW: Verdict.NONCE_USED,
    faults.REPLACEMENT_UNDERPRICED: Verdict.NONCE_PENDING,
    faults.FEE_BELOW_BASE: Verdict.TOO_CHEAP,
    faults.FEE_TOO_LOW: Verdict.TOO_CHEAP,
    faults.POOL_FULL: Verdict.LATER,
    faults.NONCE_GAP: Verdict.LATER,
    faults.INSUFFICIENT_FUNDS: Verdict.NO_FUNDS,
    faults.TYPE_MISSING: Verdict.WRONG_TYPE,
    faults.OVERSIZED: Verdict.IMPOSSIBLE,
    faults.GAS_LIMIT: Verdict.IMPOSSIBLE,
    faults.GAS_TOO_LOW: Verdict.IMPOSSIBLE,
    faults.WRONG_SIGNER: Verdict.IMPOSSIBLE,
    faults.SENDER_REFUSED: Verdict.IMPOSSIBLE,
    faults.FEE_OVER_CAP: Verdict.IMPOSSIBLE,
}


@dataclass(frozen=True)
class Broadcast:
    """The answer of a pool to a broadcast, with the node's words."""

    verdict: Verdict
    words: str = ""


class SendNode:
    """The questions of senders on one chain.

    Args:
        chain: The chain.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain, self._rpc = chain, chain.rpc
        self._oracle = FeeOracle(chain.rpc)
        self._identity = ""
        self._identified = self._priced = float("-inf")
        self._market: Market | None = None
        self.legacy = False
        """True once the chain refused a transaction of EIP-1559."""
        self.since: dict[Hashable, tuple[int, float]] = {}
        """Block and time at which something was first seen to be wrong."""
        self._said: set[Hashable] = set()

    @property
    def settings(self) -> SendSettings:
        """How this process sends."""
        return self.chain.sending

    def say_once(self, key: Hashable, text: str) -> None:
        """Tell the operator something, unless it was said before."""
        if key not in self._said:
            self._said.add(key)
            self.settings.tell(text)

    def lasts(self, key: Hashable, head: int, *, blocks: int, seconds: float) -> bool:
        """Return whether something has been wrong for some blocks, or for some seconds.

        Args:
            key: Names what is wrong. The first call with it begins the time.
            head: The newest block.
            blocks: See above.
            seconds: See above.
        """
        now = self.settings.clock.monotonic()
        block, began = self.since.setdefault(key, (head, now))
        return head - block >= blocks or now - began >= seconds

    def identity(self) -> str:
        """Return the chain's id and the hash of its first block.

        A chain under development that was reset has the same id, but other transactions. Without an
        answer about the first block, the hash is empty.
        """
        now = self.settings.clock.monotonic()
        if not self._identity or now - self._identified > _IDENTITY_SECONDS:
            chain_id = self.chain.check()
            try:
                first = self._rpc.request("eth_getBlockByNumber", "0x0", False)
                genesis = "" if first.is_null() else first["hash"].hash()
            except NodeRefused:
                genesis = ""
            self._identity, self._identified = f"{chain_id}/{genesis}", now
        return self._identity

    def head(self) -> int:
        """Return the number of the newest block."""
        return self._rpc.request("eth_blockNumber").number()

    def count(self, address: str, block: int | str = "latest") -> int:
        """Return how many transactions of an account were mined up to a block."""
        name = block if isinstance(block, str) else hex(block)
        return self._rpc.request("eth_getTransactionCount", address, name).number()

    def pending_count(self, address: str) -> int:
        """Return the nonce after those in the pool, as far as the provider shows its pool."""
        try:
            return self.count(address, "pending")
        except NodeRefused:
            return self.count(address)

    def outcome(self, tx_hash: str) -> Outcome | None:
        """Return where a transaction was mined; None if it was not, or the node does not know."""
        receipt = self._rpc.request("eth_getTransactionReceipt", tx_hash)
        if receipt.is_null() or receipt["blockNumber"].is_null():
            return None
        return Outcome(
            tx_hash,
            receipt["blockNumber"].number(),
            receipt["gasUsed"].number(),
            receipt["contractAddress"].address(),
            receipt["status"].number() == 1,
        )

    def knows(self, tx_hash: str) -> bool:
        """Return whether the node has a transaction, mined or not."""
        return not self._rpc.request("eth_getTransactionByHash", tx_hash).is_null()

    def balance(self, address: str) -> int:
        """Return what an account holds, in wei."""
        return self._rpc.request("eth_getBalance", address, "latest").number()

    def estimate(self, fields: dict[str, Any], sender: str) -> int:
        """Return the gas that a transaction uses.

        Raises:
            NodeRefused: The call would be reverted, or cannot be paid.
        """
        asked = {**fields, "from": sender, "value": hex(fields["value"])}
        return estimate_gas(self._rpc.request, asked)

    def market(self, *, fresh: bool = False) -> Market:
        """Return what a transaction of the next block pays.

        Args:
            fresh: Ask again, though the answer is a second old at most.
        """
        now = self.settings.clock.monotonic()
        if fresh or self._market is None or now - self._priced > _MARKET_SECONDS:
            self._market, self._priced = self._oracle.market(), now
        if self.legacy and not self._market.legacy:
            return Market(self._market.least, 0, legacy=True, block=self._market.block)
        return self._market

    def broadcast(self, raw: bytes) -> Broadcast:
        """Send signed bytes to the pool.

        Nothing is raised: whatever the answer, the bytes may have arrived.
        """
        try:
            self._rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        except NodeRefused as error:
            return Broadcast(_VERDICTS.get(error.fault, Verdict.UNKNOWN), error.message)
        except ChainUnavailable as error:
            return Broadcast(Verdict.UNKNOWN, str(error))
        return Broadcast(Verdict.TAKEN)

    def miner_of(self, address: str, nonce: int) -> tuple[str, int] | None:
        """Return which transaction of an account was mined with a nonce, and in which block.

        The block is looked for in the state of past blocks, which every node has of the last 128.

        Returns:
            Hash and block, or None if the node cannot say.
        """
        newest = self.head()
        oldest, step = newest, 1
        try:
            while oldest > 0 and self.count(address, oldest) > nonce:
                oldest, step = max(0, oldest - step), 2 * step
            last = newest
            while last - oldest > 1:
                middle = (oldest + last) // 2
                if self.count(address, middle) > nonce:
                    last = middle
                else:
                    oldest = middle
            block = self._rpc.request("eth_getBlockByNumber", hex(last), True)
        except NodeRefused:
            return None
        if block.is_null():
            return None
        for each in block["transactions"].list():
            if (each["from"].address(), each["nonce"].number()) == (address, nonce):
                return each["hash"].hash(), last
        return None
