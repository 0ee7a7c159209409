"""An EVM chain by RPC URL.

Reads are at a depth that no reorganization reaches, and transactions are sent exactly once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rescind.contracts.account import Account
from rescind.contracts.agreement import AgreedRpc
from rescind.contracts.blocks import Header
from rescind.contracts.clock import ChainClock
from rescind.contracts.endpoint import Endpoint
from rescind.contracts.errors import ChainUnavailable, ContractsMissing, WrongChain
from rescind.contracts.outgoing import Outgoing
from rescind.contracts.providers import Rpc
from rescind.contracts.rpc import Answer, Log, NodeRefused, block_name
from rescind.contracts.send_node import SendNode, SendSettings
from rescind.contracts.sending import Sender
from rescind.contracts.transport import TIMEOUT_SECONDS, HttpTransport, Transport
from rescind.contracts.types import Receipt
from rescind.core.errors import ConfigError
from rescind.core.redaction import shown_url

_T = TypeVar("_T")
_NO_PENDING_SECONDS = 60.0
"""How long a node that refused the block "pending" is not asked for it again."""
_PAUSES_FOR_OWN = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds to wait for a back end that does not have this process's last transaction yet."""
_TIMEOUT_OF_SEVERAL_SECONDS = 20.0
"""Most seconds for an answer where another endpoint can be asked instead."""


def different_urls(rpc_url: str | Sequence[str], agree: int) -> tuple[str, ...]:
    """Return each RPC URL once.

    Raises:
        ConfigError: There is no URL, or fewer different ones than must agree.
    """
    urls = tuple(dict.fromkeys((rpc_url,) if isinstance(rpc_url, str) else rpc_url))
    if not urls:
        raise ConfigError("rpc_url names no endpoint. Name at least one.")
    if not 1 <= agree <= len(urls):
        raise ConfigError(
            f"agree is {agree}, but rpc_url names {len(urls)} different endpoints. Name more, or "
            "lower agree."
        )
    return urls


class _Pinned(threading.local):
    """The block that a thread reads at, and the answers about it.

    The answers are kept until another block is pinned, so that a daemon that looks again before
    there is a new block asks almost nothing.
    """

    def __init__(self) -> None:
        self.block: Header | None = None
        self.hash = ""
        self.answers: dict[Hashable, Any] = {}


class Chain:
    """A chain.

    Args:
        rpc_url: Where it answers. Of several URLs the first that answers is asked.
        chain_id: The expected chain; None accepts any.
        confirmations: How many blocks must lie on top of a block before it is treated as final.
            Reads are of the state at that depth, and a write returns once it lies so deep. A
            transaction that a reorganization dropped meanwhile is sent again, the same bytes.
        agree: How many of the URLs must give the same answers.
        transport: Sends requests; by default over HTTP to `rpc_url`.

    Raises:
        ConfigError: There is no URL, or fewer different ones than must agree.
    """

    def __init__(
        self,
        rpc_url: str | Sequence[str],
        chain_id: int | None = None,
        *,
        confirmations: int = 0,
        agree: int = 1,
        transport: Transport | None = None,
    ) -> None:
        self.rpc_urls = different_urls(rpc_url, agree)
        self.agree = agree
        self.expected_id = chain_id
        self.confirmations = confirmations
        self._pinned = _Pinned()
        self.clock = ChainClock()
        self._no_pending_until = 0.0
        self._written = 0
        """The newest block with a transaction of this process."""
        seconds = TIMEOUT_SECONDS if len(self.rpc_urls) == 1 else _TIMEOUT_OF_SEVERAL_SECONDS
        endpoints = [
            Endpoint(url, transport or HttpTransport(url, seconds)) for url in self.rpc_urls
        ]
        self.rpc = (
            Rpc(endpoints, expected_id=chain_id)
            if agree == 1
            else AgreedRpc(endpoints, agree=agree, expected_id=chain_id)
        )
        self.sending = SendSettings()
        """How this process sends; a daemon and the command line change it."""
        self.send_node = SendNode(self)

    @property
    def rpc_url(self) -> str:
        """The preferred RPC URL."""
        return self.rpc_urls[0]

    @property
    def shown(self) -> str:
        """Scheme and host of the RPC URLs, for messages: the rest of them may hold a key."""
        return ", ".join(shown_url(url) for url in self.rpc_urls)

    def check(self) -> int:
        """Return the chain's id.

        Raises:
            ChainUnavailable: The chain does not answer.
            WrongChain: It is not the expected chain, or one of several endpoints is on another.
        """
        chain_id = self.rpc.chain_id()
        if self.expected_id is not None and chain_id != self.expected_id:
            raise WrongChain(
                f"{self.shown} is chain {chain_id}, but the consortium is on chain "
                f"{self.expected_id}. Correct rpc_url or chain_id."
            )
        return chain_id

    def now(self) -> int:
        """Return the time that the next block would have, Unix seconds.

        It goes on between blocks, also where blocks come only when there is a transaction. The
        block "pending" may know better, but many nodes do not have one, or show the latest instead.
        """
        estimate = self.clock.saw(self.latest())
        return max(estimate, self._pending_time())

    def latest(self) -> Header:
        """Return the newest block's header; without confirmations the one of `at_one_block`."""
        pinned = self._pinned.block
        if pinned is not None and not self.confirmations:
            return pinned
        return Header.of(self._block("latest"))

    def _pending_time(self) -> int:
        """Return the time of the block "pending"; 0 if the node has none."""
        if time.monotonic() < self._no_pending_until:
            return 0
        try:
            pending = self._block("pending")
            return 0 if pending.is_null() else pending["timestamp"].number()
        except (NodeRefused, ChainUnavailable):
            self._no_pending_until = time.monotonic() + _NO_PENDING_SECONDS
            return 0

    def time_of(self, number: int) -> int:
        """Return the time of a block, Unix seconds."""
        return self._block(number)["timestamp"].number()

    def final_block(self) -> int | str:
        """Return the newest block that is treated as final, or the one of `at_one_block`."""
        if self._pinned.block is not None:
            return self._pinned.block.number
        return self._newest_final() if self.confirmations else "latest"

    def _newest_final(self) -> int:
        return max(0, self.rpc.request("eth_blockNumber").number() - self.confirmations)

    def final_block_number(self) -> int:
        """Return the number of the newest block that is treated as final, or of `at_one_block`."""
        block = self.final_block()
        return self._newest_final() if block == "latest" else int(block)

    @contextmanager
    def at_one_block(self) -> Iterator[int]:
        """Let all reads of this thread inside the block see the state after one block.

        The block is not older than what this process wrote: a caller that does not see what it did
        would do it again.

        Yields:
            The number of the block: the newest one that is treated as final.
        """
        pinned = self._pinned
        block = self._newest_with_own()
        if block.hash != pinned.hash:
            pinned.answers.clear()
        pinned.block, pinned.hash = block, block.hash
        try:
            yield block.number
        finally:
            pinned.block = None

    def _newest_with_own(self) -> Header:
        """Return the newest final block that has what this process wrote."""
        for seconds in (*_PAUSES_FOR_OWN, None):
            newest = self._newest_final() if self.confirmations else "latest"
            block = Header.of(self._block(newest))
            if block.number >= self._written:
                return block
            if seconds is not None:
                self.rpc.waiting.pause(seconds)
        # Not a back end that is behind, but a reorganization.
        self._written = block.number
        return block

    @property
    def pinned(self) -> Header | None:
        """The block of `at_one_block`, inside of it."""
        return self._pinned.block

    def remembered(self, key: Hashable, question: Callable[[], _T]) -> _T:
        """Return the answer of a question about the block of `at_one_block`.

        It is asked once for each block, and outside of `at_one_block` every time.

        Args:
            key: Names the question.
            question: Asks the chain about `final_block`.
        """
        pinned = self._pinned
        if pinned.block is None:
            return question()
        if key not in pinned.answers:
            pinned.answers[key] = question()
        return pinned.answers[key]  # type: ignore[no-any-return]

    def forget_answers(self) -> None:
        """Ask again what this thread has asked about the block of `at_one_block`."""
        self._pinned.answers.clear()

    def block_hash(self, number: int) -> str:
        """Return a block's hash with 0x.

        Raises:
            ContractsMissing: The chain has no such block.
        """
        block = self._block(number)
        if block.is_null():
            raise ContractsMissing(f"the chain at {self.shown} has no block {number}")
        return block["hash"].hash()

    def header(self, number: int) -> Header | None:
        """Return a block's header; None if the node does not have the block."""
        block = self._block(number)
        return None if block.is_null() else Header.of(block)

    def _block(self, block: int | str) -> Answer:
        return self.rpc.request("eth_getBlockByNumber", block_name(block), False)

    def nonce(self, address: str) -> int:
        """Return the nonce of an account's next transaction."""
        return self.rpc.request("eth_getTransactionCount", address, "pending").number()

    def balance(self, address: str) -> int:
        """Return what an account holds, in wei."""
        return self.rpc.request("eth_getBalance", address, "latest").number()

    def code(self, address: str) -> bytes:
        """Return the runtime code at an address."""
        return self.rpc.request("eth_getCode", address, "latest").data()

    def call(self, target: str, data: bytes, block: int | str) -> bytes:
        """Return the answer of a view function.

        Args:
            target: The contract.
            data: The calldata.
            block: The block whose state answers.

        Raises:
            NodeRefused: The contract reverts, or the node does not have that state.
            ChainUnavailable: The node does not answer, or something else than bytes.
        """
        call = {"to": target, "data": "0x" + data.hex()}
        return self.rpc.request("eth_call", call, block_name(block)).data()

    def logs(self, addresses: Sequence[str], from_block: int, to_block: int) -> list[Log]:
        """Return the logs of some contracts.

        Args:
            addresses: The contracts.
            from_block: First block.
            to_block: Last block.

        Raises:
            NodeRefused: The node does not answer for so many blocks, or logs, at once.
            ChainUnavailable: The node does not answer, or not with logs.
        """
        return self._logs(addresses, fromBlock=hex(from_block), toBlock=hex(to_block))

    def logs_of_block(self, addresses: Sequence[str], block_hash: str) -> list[Log]:
        """Return the logs of some contracts in one block (EIP-234).

        Args:
            addresses: The contracts.
            block_hash: The block's hash, with 0x.

        Raises:
            NodeRefused: The node does not have the block.
            ChainUnavailable: The node does not answer, or not with logs.
        """
        return self._logs(addresses, blockHash=block_hash)

    def _logs(self, addresses: Sequence[str], **blocks: str) -> list[Log]:
        wanted = {"address": list(addresses), **blocks}
        return [each.log() for each in self.rpc.request("eth_getLogs", wanted).list()]

    def send(
        self,
        account: Account,
        transaction: dict[str, Any],
        *,
        label: str = "",
        nonce: int | None = None,
    ) -> Receipt:
        """Send a call exactly once, and return its receipt when it is final; see `Sender.send`.

        Args:
            account: Signs.
            transaction: `to` unless it creates a contract, `data` and `value`.
            label: Its place in a plan of several transactions.
            nonce: The nonce that it must have.
        """
        receipt = Sender(self.send_node, account).send(transaction, label=label, nonce=nonce)
        self._written = max(self._written, receipt.block)
        return receipt

    def tend(self, account: Account, *, starting: bool = False) -> None:
        """Send again and reprice what an account has signed and is not final; see `Sender.tend`."""
        Sender(self.send_node, account).tend(starting=starting)

    def cancel(self, account: Account, nonce: int) -> Outgoing:
        """Replace an open transaction by an empty transfer, and return what became of it.

        Raises:
            TransactionRefused: No transaction of the account with that nonce is open.
        """
        return Sender(self.send_node, account).cancel(nonce)

    def transaction(self, tx_hash: str) -> Answer | None:
        """Return a transaction by its hash, mined or not; None if the node does not know it."""
        transaction = self.rpc.request("eth_getTransactionByHash", tx_hash)
        return None if transaction.is_null() else transaction

    def transactions(self, block: int) -> list[Answer]:
        """Return the transactions of a block."""
        return self.rpc.request("eth_getBlockByNumber", hex(block), True)["transactions"].list()

    def gas_used(self, tx_hash: str) -> int:
        """Return the gas that a transaction used."""
        return self.rpc.request("eth_getTransactionReceipt", tx_hash)["gasUsed"].number()
