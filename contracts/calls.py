"""Calls of a consortium's contracts, with the contracts' own words for a refusal."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic
from web3 import Web3
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    Web3Exception,
    Web3RPCError,
)

from rescind.contracts.abi import Function
from rescind.contracts.account import Account
from rescind.contracts.chain import Chain
from rescind.contracts.compiled import load_compiled
from rescind.contracts.creation import check_creations
from rescind.contracts.decoding import Struct
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import (
    ChainUnavailable,
    ContractRefused,
    ContractsMissing,
    WrongChain,
)
from rescind.contracts.refusals import refusal
from rescind.contracts.types import Event, Receipt


class Calls:
    """Calls by the names in the ABI.

    Reads need no account. A write returns once it is final.

    Args:
        chain: The chain.
        deployment: Where the contracts are.
        account: Signs transactions.
    """

    def __init__(
        self, chain: Chain, deployment: Deployment, account: Account | None = None
    ) -> None:
        self.chain, self.deployment, self.account = chain, deployment, account
        self._block: int | None = None
        self._contracts: dict[str, Any] = {
            name: chain.web3.eth.contract(address=address, abi=load_compiled(name).abi)  # type: ignore[call-overload]
            for name, address in deployment.addresses().items()
        }
        self._functions = {
            (name, item["name"]): Function.of(name, item)
            for name in self._contracts
            for item in load_compiled(name).abi
            if item["type"] == "function"
        }
        self._events = {
            (address, bytes(event_abi_to_log_topic(item))): (name, str(item["name"]))  # type: ignore[arg-type]
            for name, address in deployment.addresses().items()
            for item in load_compiled(name).abi
            if item["type"] == "event"
        }
        self._errors = {
            error["selector"]: error
            for name in self._contracts
            for error in _custom_errors(load_compiled(name).abi)
        }

    def at(self, block: int) -> Self:
        """Return a client that reads the state after one block, whatever comes later."""
        view = copy.copy(self)
        view._block = block
        return view

    def check(self) -> None:
        """Check that these contracts are on the chain, created as published.

        The runtime code is not enough: a constructor could have written anything into storage. So
        the transactions that created the contracts are compared as well, with their arguments.

        Raises:
            ChainUnavailable: The chain does not answer.
            WrongChain: It is another chain than the expected one, or than that of the contracts
                file.
            ContractsMissing: Another code, or none, is at one of the addresses, or a contract was
                created with other code or other arguments than it shows.
        """
        chain_id = self.chain.check()
        if chain_id != self.deployment.chain_id:
            raise WrongChain(
                f"{self.chain.shown} is chain {chain_id}, but the contracts file is for chain "
                f"{self.deployment.chain_id}. Correct rpc_url, or use the consortium's contracts "
                "file."
            )
        for name, address in self.deployment.addresses().items():
            if not load_compiled(name).is_code(self.chain.code(address)):
                raise ContractsMissing(
                    f"the contract {name} is not at {address} on {self.chain.shown}. Either the "
                    "chain was reset, or the contracts file belongs to another consortium: check "
                    "rpc_url and the contracts file."
                )
        check_creations(self.chain, self.deployment, self._read)

    def events(self, from_block: int | None = None) -> Iterator[Event]:
        """Yield the events of the contracts, in the order of the chain.

        Args:
            from_block: First block; without it, the block of the last deployment.
        """
        first = self.deployment.block if from_block is None else from_block
        addresses = [str(contract.address) for contract in self._contracts.values()]
        for log in self.chain.logs(addresses, first, self._last_block()):
            event = self._decoded(log)
            if event is not None:
                yield event

    def _logged(self, contract: str, name: str, **filters: int | str) -> list[Struct]:
        """Return the arguments of every event of one name, in the order of the chain.

        `filters` are values of indexed arguments.
        """
        abi = self._event_abi(contract, name)
        topics: list[Any] = [Web3.to_hex(self._topic_of(contract, name))]
        indexed = [item["name"] for item in abi["inputs"] if item["indexed"]]
        topics += [_topic(filters[item]) if item in filters else None for item in indexed]
        while topics[-1] is None:
            topics.pop()
        logs = self._logs_by_topic([contract], topics, self.deployment.block)
        source = f"{contract}.{name}"
        return [Struct(source, self._arguments(contract, name, log)) for log in logs]

    def _logs_by_topic(
        self, contracts: Sequence[str], topics: Sequence[Any], from_block: int
    ) -> list[Any]:
        addresses = [str(self._contracts[name].address) for name in contracts]
        last = self._last_block()
        return self.chain.remembered(
            ("logs", repr((addresses, topics)), from_block, last),
            lambda: self.chain.logs(addresses, from_block, last, topics),
        )

    def _event_abi(self, contract: str, name: str) -> dict[str, Any]:
        abi = load_compiled(contract).abi
        return next(item for item in abi if item["type"] == "event" and item["name"] == name)

    def _topic_of(self, contract: str, name: str) -> bytes:
        return bytes(event_abi_to_log_topic(self._event_abi(contract, name)))  # type: ignore[arg-type]

    def _decoded(self, log: Any) -> Event | None:
        """Return a log as an event; None for one that the ABI does not know."""
        topic = bytes(log["topics"][0]) if log["topics"] else b""
        known = self._events.get((log["address"], topic))
        if known is None:
            return None
        contract, name = known
        return Event(
            int(log["blockNumber"]),
            "0x" + bytes(log["transactionHash"]).hex(),
            contract,
            name,
            self._arguments(contract, name, log),
        )

    def _arguments(self, contract: str, name: str, log: Any) -> dict[str, Any]:
        """Return the arguments of an event.

        Raises:
            ContractsMissing: The log is not such an event, though its first topic says so.
        """
        try:
            return dict(self._contracts[contract].events[name]().process_log(log)["args"])
        except (DecodingError, Web3Exception) as error:
            raise ContractsMissing(
                f"an event {contract}.{name} cannot be decoded: {self.chain.hide(error)}. The RPC endpoint "
                f"{self.chain.shown} answers wrongly: use another one."
            ) from error

    def gas_of(self, tx_hash: str) -> int:
        """Return the gas that a transaction used."""
        receipt = self.chain.ask(lambda: self.chain.web3.eth.get_transaction_receipt(tx_hash))  # type: ignore[arg-type]
        return int(receipt["gasUsed"])

    def encode_call(self, contract: str, function: str, *arguments: Any) -> tuple[str, bytes]:
        """Return target and calldata of a call, for a proposal."""
        target = self.deployment.addresses()[contract]
        return target, self._functions[contract, function].encode(arguments)

    def decode_call(self, target: str, data: bytes) -> str:
        """Return the call of a proposal as text."""
        for name, contract in self._contracts.items():
            if contract.address == target:
                try:
                    function, arguments = contract.decode_function_input(data)
                except Exception:  # any member can propose any bytes, and web3 raises many types
                    break
                shown = ", ".join(f"{key} {_shown(value)}" for key, value in arguments.items())
                return f"{name}.{function.fn_name}({shown})"
        return f"{target}: {data.hex()}"

    def _sender(self) -> Account:
        if self.account is None:
            raise ContractRefused(
                "a transaction needs an account, but this client was opened without one"
            )
        return self.account

    def _last_block(self) -> int:
        return self.chain.final_block_number() if self._block is None else self._block

    def _read(self, contract: str, function: str, *arguments: Any) -> Any:
        """Call a view function; structs and several outputs come as `Struct`."""
        asked = self._functions[contract, function]
        target, data = self.encode_call(contract, function, *arguments)
        call = {"to": target, "data": data}
        block = self.chain.final_block() if self._block is None else self._block
        try:
            answer = self.chain.remembered(
                (target, data, block),
                lambda: self.chain.ask(lambda: self.chain.web3.eth.call(call, block)),  # type: ignore[arg-type]
            )
            return asked.decode(bytes(answer))
        except ContractCustomError as error:
            raise self._refused(contract, function, error) from error
        except (ContractLogicError, ValueError, Web3RPCError, DecodingError) as error:
            raise ContractsMissing(
                f"{contract} at {target} does not answer {function}: {self.chain.hide(error)}"
            ) from None

    def _write(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        target, data = self.encode_call(contract, function, *arguments)
        transaction = {"to": target, "data": "0x" + data.hex(), "value": value}
        try:
            return self.chain.send(self._sender(), transaction)
        except ContractLogicError as error:
            raise self._refused(contract, function, error) from error
        except Web3RPCError as error:
            raise ChainUnavailable(
                f"{self.chain.shown} did not accept {contract}.{function}: {self.chain.hide(error)}"
            ) from None

    def _refused(self, contract: str, function: str, error: Any) -> ContractRefused:
        data = str(getattr(error, "data", "") or "")
        known = self._errors.get(data[:10])
        if known is None:
            return ContractRefused(f"{contract}.{function} was refused: {self.chain.hide(error)}")
        types = [collapse_if_tuple(item) for item in known["inputs"]]
        values = self.chain.web3.codec.decode(types, bytes.fromhex(data[10:]))
        arguments = {
            str(item["name"]): (str(item["internalType"]), value)
            for item, value in zip(known["inputs"], values, strict=True)
        }
        name = str(known["name"])
        return ContractRefused(
            f"{contract}.{function} was refused: {refusal(name, arguments)}", name
        )


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _topic(value: int | str) -> str:
    """Return an indexed number or address as a topic of 32 bytes."""
    number = int(value, 16) if isinstance(value, str) else value
    return Web3.to_hex(number.to_bytes(32, "big"))


def _custom_errors(abi: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in abi:
        if item["type"] == "error":
            types = ",".join(collapse_if_tuple(part) for part in item["inputs"])
            selector = keccak(f"{item['name']}({types})".encode())[:4]
            yield {**item, "selector": "0x" + selector.hex()}
