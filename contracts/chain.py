"""An EVM chain by RPC URL.

Reads are at a depth that no reorganization reaches, and transactions are sent exactly once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
from tenacity import (
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
    wait_fixed,
)
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError, TransactionNotFound, Web3RPCError, Web3ValueError

from rescind.contracts.account import Account
from rescind.contracts.errors import ChainUnavailable, ContractRefused, WrongChain
from rescind.contracts.types import Receipt
from rescind.core.redaction import hide_parts_of, shown_url

_T = TypeVar("_T")
_GAS_MARGIN = 1.3
_MINED_SECONDS = 600.0
_G1MSM = "0x000000000000000000000000000000000000000C"
MOST_GAS = 2**24
"""Most gas of one transaction (EIP-7825)."""


class _Pinned(threading.local):
    """The block that a thread reads at, and the answers about it.

    The answers are kept until another block is pinned, so that a daemon that looks again before
    there is a new block asks almost nothing.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.hash = b""
        self.answers: dict[Hashable, Any] = {}


class Chain:
    """A chain.

    Args:
        rpc_url: Where it answers.
        chain_id: The expected chain; None accepts any.
        confirmations: How many blocks must lie on top of a block before it is treated as final.
            Reads are of the state at that depth, and a write returns once it lies so deep. A
            transaction that a reorganization dropped meanwhile is sent again, the same bytes.
    """

    def __init__(
        self, rpc_url: str, chain_id: int | None = None, *, confirmations: int = 0
    ) -> None:
        self.rpc_url = rpc_url
        self.expected_id = chain_id
        self.confirmations = confirmations
        self._pinned = _Pinned()
        provider = HTTPProvider(
            rpc_url, request_kwargs={"timeout": 60}, exception_retry_configuration=None
        )
        self.web3 = Web3(provider)
        # It asks for the chain's id twice before each call. `check` asks once before each
        # transaction, and every transaction is signed for that id.
        self.web3.middleware_onion.remove("validation")

    @property
    def shown(self) -> str:
        """Scheme and host of the RPC URL, for messages: the rest of it may hold a key."""
        return shown_url(self.rpc_url)

    def hide(self, error: BaseException) -> str:
        """Return the text of an error without the key in the RPC URL, which servers may repeat."""
        return hide_parts_of(self.rpc_url, str(error))

    def check(self) -> int:
        """Return the chain's id.

        Raises:
            ChainUnavailable: The chain does not answer.
            WrongChain: It is not the expected chain.
        """
        chain_id = self.ask(lambda: int(self.web3.eth.chain_id))
        if self.expected_id is not None and chain_id != self.expected_id:
            raise WrongChain(
                f"{self.shown} is chain {chain_id}, but the consortium is on chain "
                f"{self.expected_id}. Correct rpc_url or chain_id."
            )
        return chain_id

    def now(self) -> int:
        """Return the time that the next block would have, Unix seconds."""
        return self.ask(lambda: int(self.web3.eth.get_block("pending")["timestamp"]))

    def final_block(self) -> Any:
        """Return the newest block that is treated as final, or the one of `at_one_block`."""
        if self._pinned.number is not None:
            return self._pinned.number
        return self._newest_final() if self.confirmations else "latest"

    def _newest_final(self) -> int:
        return max(0, self.ask(lambda: int(self.web3.eth.block_number)) - self.confirmations)

    def final_block_number(self) -> int:
        """Return the number of the newest block that is treated as final, or of `at_one_block`."""
        block = self.final_block()
        return self._newest_final() if block == "latest" else int(block)

    @contextmanager
    def at_one_block(self) -> Iterator[int]:
        """Let all reads of this thread inside the block see the state after one block.

        Yields:
            The number of the block: the newest one that is treated as final.
        """
        pinned = self._pinned
        newest = self._newest_final() if self.confirmations else "latest"
        block = self.ask(lambda: self.web3.eth.get_block(newest))  # type: ignore[arg-type]
        if bytes(block["hash"]) != pinned.hash:
            pinned.answers.clear()
        pinned.number, pinned.hash = int(block["number"]), bytes(block["hash"])
        try:
            yield pinned.number
        finally:
            pinned.number = None

    def remembered(self, key: Hashable, question: Callable[[], _T]) -> _T:
        """Return the answer of a question about the block of `at_one_block`.

        It is asked once for each block, and outside of `at_one_block` every time.

        Args:
            key: Names the question.
            question: Asks the chain about `final_block`.
        """
        pinned = self._pinned
        if pinned.number is None:
            return question()
        if key not in pinned.answers:
            pinned.answers[key] = question()
        return pinned.answers[key]  # type: ignore[no-any-return]

    def block_hash(self, number: int) -> str:
        """Return a block's hash with 0x. Raises web3's BlockNotFound."""
        block = self.ask(lambda: self.web3.eth.get_block(number))
        return "0x" + bytes(block["hash"]).hex()

    def nonce(self, address: str) -> int:
        """Return the nonce of an account's next transaction."""
        return self.ask(
            lambda: int(
                self.web3.eth.get_transaction_count(Web3.to_checksum_address(address), "pending")
            )
        )

    def code(self, address: str) -> bytes:
        """Return the runtime code at an address."""
        return self.ask(lambda: bytes(self.web3.eth.get_code(Web3.to_checksum_address(address))))

    def logs(
        self,
        addresses: Sequence[str],
        from_block: int,
        to_block: int,
        topics: Sequence[Any] = (),
    ) -> list[Any]:
        """Return the logs of some contracts, in the order of the chain.

        Public providers answer only for so many blocks or logs at once. A range that is refused is
        halved.

        Args:
            addresses: The contracts.
            from_block: First block.
            to_block: Last block.
            topics: Filter by topic: a topic, a list of alternatives or None for each place.

        Raises:
            ChainUnavailable: Even a single block is refused.
        """
        if from_block > to_block:
            return []
        wanted = {
            "address": list(addresses),
            "fromBlock": from_block,
            "toBlock": to_block,
            "topics": list(topics),
        }
        try:
            return list(self.ask(lambda: self.web3.eth.get_logs(wanted)))  # type: ignore[arg-type]
        except Web3RPCError as error:
            if from_block == to_block:
                raise ChainUnavailable(
                    f"{self.shown} does not return the events of block {to_block}: "
                    f"{self.hide(error)}"
                ) from None
        middle = (from_block + to_block) // 2
        return [
            *self.logs(addresses, from_block, middle, topics),
            *self.logs(addresses, middle + 1, to_block, topics),
        ]

    def has_precompiles(self) -> bool:
        """Return whether the chain can add points of BLS12-381 (EIP-2537).

        Elsewhere the address of the precompile is an empty account, and a call returns nothing.
        """
        # 1 x infinity is infinity: 160 zero bytes in, 128 zero bytes out.
        call = {"to": _G1MSM, "data": "0x" + bytes(160).hex()}
        try:
            return bytes(self.ask(lambda: self.web3.eth.call(call))) == bytes(128)  # type: ignore[arg-type]
        except (Web3RPCError, Web3ValueError, ContractLogicError):
            return False

    def ask(self, question: Callable[[], _T]) -> _T:
        """Return the answer of a question, which is asked up to three times.

        Raises:
            ChainUnavailable: The node does not answer.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(requests.exceptions.RequestException),
            stop=stop_after_attempt(3),
            wait=wait_exponential_jitter(multiplier=0.1, max=1.0),
            reraise=True,
        )
        try:
            return retrying(question)
        except requests.exceptions.RequestException as error:
            raise ChainUnavailable(
                f"no Ethereum node answers at {self.shown} ({type(error).__name__}). Check "
                "rpc_url, and that the node is running."
            ) from None

    def send(self, account: Account, transaction: dict[str, Any]) -> Receipt:
        """Sign a transaction once, and return its receipt when it is final.

        After a lost answer or a reorganization the same bytes are sent again, never others.

        Raises:
            ContractRefused: The contract reverted it.
            ChainUnavailable: The node does not answer, or the transaction is not final in time.
        """
        prepared = self.ask(lambda: self._prepare(account, transaction))
        raw, tx_hash = account.sign_transaction(prepared)
        self.ask(lambda: self._broadcast(raw, tx_hash))
        receipt = self.ask(lambda: self._final(raw, tx_hash))
        if receipt["status"] != 1:
            raise ContractRefused(f"transaction {tx_hash} was mined, but the contract reverted it")
        return Receipt(tx_hash, int(receipt["blockNumber"]), int(receipt["gasUsed"]))

    def _prepare(self, account: Account, transaction: dict[str, Any]) -> dict[str, Any]:
        gas = int(self.web3.eth.estimate_gas({**transaction, "from": account.address}))  # type: ignore[typeddict-item]
        latest = self.web3.eth.get_block("latest")
        tip = 10**9
        return {
            **transaction,
            "chainId": self.check(),
            "nonce": self.nonce(account.address),
            "gas": max(gas, min(int(gas * _GAS_MARGIN), MOST_GAS)),
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * int(latest.get("baseFeePerGas", 0)) + tip,
            "type": 2,
        }

    def _broadcast(self, raw: bytes, tx_hash: str) -> None:
        try:
            self.web3.eth.send_raw_transaction(raw)
        except Web3RPCError:
            if self._known(tx_hash) is None:
                raise

    def _known(self, tx_hash: str) -> Any:
        try:
            return self.web3.eth.get_transaction(tx_hash)  # type: ignore[arg-type]
        except TransactionNotFound:
            return None

    def _final(self, raw: bytes, tx_hash: str) -> Any:
        """Return the receipt, once enough blocks lie on top of it."""

        def receipt() -> Any:
            try:
                mined = self.web3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
            except TransactionNotFound:
                if self.confirmations and self._known(tx_hash) is None:
                    self._broadcast(raw, tx_hash)
                return None
            depth = int(self.web3.eth.block_number) - int(mined["blockNumber"])
            return mined if depth >= self.confirmations else None

        final = Retrying(
            retry=retry_if_result(lambda value: value is None),
            stop=stop_after_delay(_MINED_SECONDS),
            wait=wait_fixed(0.25 if self.confirmations else 0.05),
            retry_error_callback=lambda _: None,
        )(receipt)
        if final is None:
            raise ChainUnavailable(
                f"transaction {tx_hash} was not final after {_MINED_SECONDS:.0f} s. It may still "
                "be mined: check it before you send it again."
            )
        return final
