"""One EVM chain by RPC URL, and transactions that are sent exactly once."""

from __future__ import annotations

from collections.abc import Callable
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
from web3.exceptions import TransactionNotFound, Web3RPCError

from contracts.account import Account
from contracts.errors import ChainUnavailable, ContractRefused, WrongChain
from contracts.types import Receipt

_T = TypeVar("_T")
_GAS_MARGIN = 1.3
_MINED_SECONDS = 120.0


class Chain:
    """`chain_id` None accepts whatever chain answers."""

    def __init__(self, rpc_url: str, chain_id: int | None = None) -> None:
        self.rpc_url = rpc_url
        self.expected_id = chain_id
        provider = HTTPProvider(
            rpc_url, request_kwargs={"timeout": 20}, exception_retry_configuration=None
        )
        self.web3 = Web3(provider)

    def check(self) -> int:
        """The chain's id. Raises ChainUnavailable, or WrongChain when it is not the expected one."""
        found = self.ask(lambda: int(self.web3.eth.chain_id))
        if self.expected_id is not None and found != self.expected_id:
            raise WrongChain(
                f"{self.rpc_url} is chain {found}, the consortium lives on chain "
                f"{self.expected_id}: correct rpc_url or chain_id"
            )
        return found

    def now(self) -> int:
        """The time that the next block would have, Unix seconds."""
        return self.ask(lambda: int(self.web3.eth.get_block("pending")["timestamp"]))

    def code(self, address: str) -> bytes:
        return self.ask(lambda: bytes(self.web3.eth.get_code(Web3.to_checksum_address(address))))

    def ask(self, question: Callable[[], _T]) -> _T:
        """Tried three times; then ChainUnavailable."""
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
                f"no Ethereum node answers at {self.rpc_url}: {type(error).__name__}"
            ) from error

    def send(self, account: Account, transaction: dict[str, Any]) -> Receipt:
        """Sign once and see it mined. After a lost answer the same bytes are sent again, never others."""
        prepared = self.ask(lambda: self._prepare(account, transaction))
        raw, tx_hash = account.sign_transaction(prepared)
        self.ask(lambda: self._broadcast(raw, tx_hash))
        receipt = self.ask(lambda: self._mined(tx_hash))
        if receipt["status"] != 1:
            raise ContractRefused(f"transaction {tx_hash} was mined and reverted")
        return Receipt(tx_hash, int(receipt["blockNumber"]), int(receipt["gasUsed"]))

    def _prepare(self, account: Account, transaction: dict[str, Any]) -> dict[str, Any]:
        gas = int(self.web3.eth.estimate_gas({**transaction, "from": account.address}))  # type: ignore[typeddict-item]
        latest = self.web3.eth.get_block("latest")
        tip = 10**9
        return {
            **transaction,
            "chainId": self.check(),
            "nonce": self.web3.eth.get_transaction_count(
                Web3.to_checksum_address(account.address), "pending"
            ),
            "gas": int(gas * _GAS_MARGIN),
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * int(latest.get("baseFeePerGas", 0)) + tip,
            "type": 2,
        }

    def _broadcast(self, raw: bytes, tx_hash: str) -> None:
        try:
            self.web3.eth.send_raw_transaction(raw)
        except Web3RPCError:
            if self._found(tx_hash) is None:
                raise

    def _found(self, tx_hash: str) -> Any:
        try:
            return self.web3.eth.get_transaction(tx_hash)  # type: ignore[arg-type]
        except TransactionNotFound:
            return None

    def _mined(self, tx_hash: str) -> Any:
        def receipt() -> Any:
            try:
                return self.web3.eth.get_transaction_receipt(tx_hash)  # type: ignore[arg-type]
            except TransactionNotFound:
                return None

        found = Retrying(
            retry=retry_if_result(lambda value: value is None),
            stop=stop_after_delay(_MINED_SECONDS),
            wait=wait_fixed(0.05),
            retry_error_callback=lambda _: None,
        )(receipt)
        if found is None:
            raise ChainUnavailable(f"transaction {tx_hash} was not mined in {_MINED_SECONDS:.0f} s")
        return found
