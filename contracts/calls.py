"""Calls of a consortium's contracts, with the contracts' own words for a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from web3 import Web3
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    TransactionNotFound,
    Web3RPCError,
)
from web3.logs import DISCARD

from rescind.contracts.account import Account
from rescind.contracts.chain import Chain
from rescind.contracts.compiled import load_compiled
from rescind.contracts.decoding import Struct, decode_result
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import ChainUnavailable, ContractRefused, ContractsMissing
from rescind.contracts.types import Event, Receipt


class Calls:
    """Reads need no account. A write returns once it is final, or raises ContractRefused."""

    def __init__(
        self, chain: Chain, deployment: Deployment, account: Account | None = None
    ) -> None:
        self.chain, self.deployment, self.account = chain, deployment, account
        self._contracts: dict[str, Any] = {
            name: chain.web3.eth.contract(address=address, abi=load_compiled(name).abi)  # type: ignore[call-overload]
            for name, address in deployment.addresses().items()
        }
        self._errors = {
            error["selector"]: error
            for name in self._contracts
            for error in _custom_errors(load_compiled(name).abi)
        }

    def check(self) -> None:
        """Check that these contracts are on the chain.

        Raises:
            ChainUnavailable: The chain does not answer.
            WrongChain: It is another chain.
            ContractsMissing: Another code, or none, is at one of the addresses.
        """
        self.chain.check()
        for name, address in self.deployment.addresses().items():
            if not load_compiled(name).is_code(self.chain.code(address)):
                raise ContractsMissing(
                    f"the contract {name} is not at {address} on {self.chain.rpc_url}. Either the "
                    "chain was reset, or the contracts file belongs to another consortium: check "
                    "rpc_url and the contracts file."
                )

    def events(self, from_block: int = 0) -> Iterator[Event]:
        """Every event of the contracts, in the order of the chain."""
        contracts = {c.address: (name, c) for name, c in self._contracts.items()}
        last = self.chain.final_block()
        logs = self.chain.ask(
            lambda: self.chain.web3.eth.get_logs(
                {"address": list(contracts), "fromBlock": from_block, "toBlock": last}
            )
        )
        for log in logs:
            name, contract = contracts[log["address"]]
            for event in contract.events:
                for decoded in event().process_receipt({"logs": [log]}, errors=DISCARD):
                    yield Event(
                        int(log["blockNumber"]),
                        "0x" + bytes(log["transactionHash"]).hex(),
                        name,
                        str(decoded["event"]),
                        dict(decoded["args"]),
                    )

    def _logged(self, contract: str, name: str) -> list[Struct]:
        """The arguments of every event of one name, in the order of the chain."""
        event = self._contracts[contract].events[name]
        last = self.chain.final_block()
        logs = self.chain.ask(
            lambda: event().get_logs(from_block=self.deployment.block, to_block=last)
        )
        return [Struct(f"{contract}.{name}", log["args"]) for log in logs]

    def gas_of(self, tx_hash: str) -> int:
        receipt = self.chain.ask(lambda: self.chain.web3.eth.get_transaction_receipt(tx_hash))  # type: ignore[arg-type]
        return int(receipt["gasUsed"])

    def input_of(self, tx_hash: str) -> tuple[str, str, dict[str, Any]]:
        """Contract, function and arguments of a transaction to one of the contracts.

        Raises ContractsMissing for any other transaction, or none.
        """
        try:
            found = self.chain.ask(lambda: self.chain.web3.eth.get_transaction(tx_hash))  # type: ignore[arg-type]
        except (TransactionNotFound, ValueError) as error:
            raise ContractsMissing(f"there is no transaction {tx_hash} on the chain") from error
        for name, contract in self._contracts.items():
            if contract.address == found["to"]:
                function, arguments = contract.decode_function_input(found["input"])
                return name, function.fn_name, dict(arguments)
        raise ContractsMissing(f"transaction {tx_hash} is not to one of the consortium's contracts")

    def encode_call(self, contract: str, function: str, *arguments: Any) -> tuple[str, bytes]:
        """Target and calldata, for a proposal."""
        target = self._contracts[contract]
        data = str(target.encode_abi(function, arguments))
        return str(target.address), bytes.fromhex(data.removeprefix("0x"))

    def decode_call(self, target: str, data: bytes) -> str:
        """Return the call of a proposal as text."""
        for name, contract in self._contracts.items():
            if contract.address == target:
                try:
                    function, arguments = contract.decode_function_input(data)
                except Exception:  # a proposal's bytes are anybody's, web3 raises many types
                    break
                shown = ", ".join(f"{key} {_shown(value)}" for key, value in arguments.items())
                return f"{name}.{function.fn_name}({shown})"
        return f"{target}: {data.hex()}"

    def _me(self) -> Account:
        if self.account is None:
            raise ContractRefused(
                "a transaction needs an account, but this client was opened without one"
            )
        return self.account

    def _read(self, contract: str, function: str, *arguments: Any) -> Any:
        """Call a view function; structs and several outputs come as `Struct`."""
        call = self._contracts[contract].functions[function](*arguments)
        block = self.chain.final_block()
        try:
            value = self.chain.ask(lambda: call.call(block_identifier=block))
        except ContractCustomError as error:
            raise self._refused(contract, function, error) from error
        except (ContractLogicError, ValueError, Web3RPCError) as error:
            raise ContractsMissing(
                f"{contract} at {self.deployment.addresses()[contract]} does not answer "
                f"{function}: {error}"
            ) from error
        return decode_result(f"{contract}.{function}", call.abi["outputs"], value)

    def _write(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        target = self._contracts[contract]
        data = target.encode_abi(function, arguments)
        transaction = {"to": target.address, "data": data, "value": value}
        try:
            return self.chain.send(self._me(), transaction)
        except ContractLogicError as error:
            raise self._refused(contract, function, error) from error
        except Web3RPCError as error:
            raise ChainUnavailable(
                f"{self.chain.rpc_url} did not accept {contract}.{function}: {error}"
            ) from error

    def _refused(self, contract: str, function: str, error: Any) -> ContractRefused:
        data = str(getattr(error, "data", "") or "")
        known = self._errors.get(data[:10])
        if known is None:
            return ContractRefused(f"{contract}.{function} was refused: {error}")
        types = [item["type"] for item in known["inputs"]]
        values = self.chain.web3.codec.decode(types, bytes.fromhex(data[10:]))
        shown = ", ".join(
            f"{item['name']} {_shown(value)}"
            for item, value in zip(known["inputs"], values, strict=True)
        )
        return ContractRefused(
            f"{contract}.{function} was refused: {known['name']}({shown})", known["name"]
        )


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _custom_errors(abi: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in abi:
        if item["type"] == "error":
            signature = f"{item['name']}({','.join(part['type'] for part in item['inputs'])})"
            yield {**item, "selector": "0x" + bytes(Web3.keccak(text=signature))[:4].hex()}
