"""Calls of a consortium's contracts, with the contracts' own words for a refusal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Self, TypeVar

from rescind.contracts.abi import LoggedEvent, Undecodable, load_interface
from rescind.contracts.account import Account
from rescind.contracts.blocks import Header
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
from rescind.contracts.event_index import EventIndex
from rescind.contracts.log_filter import Topics
from rescind.contracts.refusals import refusal
from rescind.contracts.rpc import Log, NodeRefused
from rescind.contracts.types import Event, Receipt

_T = TypeVar("_T")


class Calls:
    """Calls by the names in the ABI.

    Reads need no account. A write returns once it is final.

    Args:
        chain: The chain.
        deployment: Where the contracts are.
        account: Signs transactions.
        index: Where events are kept; by default in memory, for this client alone.
    """

    def __init__(
        self,
        chain: Chain,
        deployment: Deployment,
        account: Account | None = None,
        *,
        index: EventIndex | None = None,
    ) -> None:
        self.chain, self.deployment, self.account = chain, deployment, account
        self.index = EventIndex(chain, deployment) if index is None else index
        self._block: int | None = None
        self._answers: dict[Hashable, Any] = {}
        self._addresses_by_name = deployment.addresses()
        self._names = {address: name for name, address in self._addresses_by_name.items()}
        self._interfaces = {name: load_interface(name) for name in self._addresses_by_name}

    def at(self, block: int) -> Self:
        """Return a client that reads the state after one block, whatever comes later.

        It remembers the answers, because they cannot change.
        """
        view = copy.copy(self)
        view._block, view._answers = block, {}
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
            from_block: First block; without it, or for an earlier one, the block of the last
                deployment.
        """
        first = self.deployment.block if from_block is None else from_block
        for log in self._logs(list(self._interfaces), (), first):
            event = self._event_of(log)
            if event is not None:
                yield self._decoded(event, log)

    def _logged(self, contract: str, name: str, **filters: int | str) -> list[Struct]:
        """Return the arguments of every event of one name, in the order of the chain.

        `filters` are values of indexed arguments.
        """
        event = self._interfaces[contract].events[name]
        logs = self._logs([contract], event.topics_of(filters), self.deployment.block)
        return [Struct(event.source, self._arguments(event, log)) for log in logs]

    def _logs(self, contracts: Sequence[str], topics: Topics, from_block: int) -> list[Log]:
        addresses = [self._addresses_by_name[name] for name in contracts]
        # A tuple, since it names the question.
        wanted = tuple(t if t is None or isinstance(t, bytes) else tuple(t) for t in topics)
        head = self._last_header()
        last = head if isinstance(head, int) else head.number
        return self._remembered(
            ("logs", tuple(addresses), wanted, from_block, last),
            lambda: self.index.logs(addresses, wanted, from_block, head),
        )

    def _last_header(self) -> Header | int:
        """Return the last block that is read, with its header if that is known."""
        if self._block is not None:
            return self._block
        pinned = self.chain.pinned
        return self.chain.final_block_number() if pinned is None else pinned

    def _read_events_again(self) -> bool:
        """Let the events be read from the chain again. Return False if that was done just now."""
        done = self.index.read_again(self._last_block())
        if done:
            self._answers.clear()
            self.chain.forget_answers()
        return done

    def _remembered(self, key: Hashable, question: Callable[[], _T]) -> _T:
        """Return the answer of a question, which is asked once for each block that is pinned."""
        if self._block is None:
            return self.chain.remembered(key, question)
        if key not in self._answers:
            self._answers[key] = question()
        return self._answers[key]  # type: ignore[no-any-return]

    def _topic_of(self, contract: str, name: str) -> bytes:
        return self._interfaces[contract].events[name].topic

    def _event_of(self, log: Log) -> LoggedEvent | None:
        """Return which event a log is; None for one that the ABI does not have."""
        name = self._names.get(log.address)
        if name is None or not log.topics:
            return None
        return self._interfaces[name].logged.get(log.topics[0])

    def _decoded(self, event: LoggedEvent, log: Log) -> Event:
        arguments = self._arguments(event, log)
        return Event(log.block, log.tx_hash, event.contract, event.name, arguments)

    def _arguments(self, event: LoggedEvent, log: Log) -> dict[str, Any]:
        """Return the arguments of an event.

        Raises:
            ContractsMissing: The log is not such an event, though its first topic says so.
        """
        try:
            return event.decode(log.topics, log.data)
        except Undecodable as error:
            raise ContractsMissing(
                f"an event {event.source} cannot be decoded: {error}. The RPC endpoint "
                f"{self.chain.shown} answers wrongly: use another one."
            ) from error

    def gas_of(self, tx_hash: str) -> int:
        """Return the gas that a transaction used."""
        return self.chain.gas_used(tx_hash)

    def encode_call(self, contract: str, function: str, *arguments: Any) -> tuple[str, bytes]:
        """Return target and calldata of a call, for a proposal."""
        target = self._addresses_by_name[contract]
        return target, self._interfaces[contract].functions[function].encode(arguments)

    def decode_call(self, target: str, data: bytes) -> str:
        """Return the call of a proposal as text."""
        name = self._names.get(target)
        function = self._interfaces[name].called.get(data[:4]) if name else None
        if function is not None:
            try:
                arguments = function.decode_arguments(data)
            except Undecodable:  # any member can propose any bytes
                return f"{target}: {data.hex()}"
            shown = ", ".join(f"{key} {_shown(value)}" for key, value in arguments.items())
            return f"{function.source}({shown})"
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
        asked = self._interfaces[contract].functions[function]
        target, data = self.encode_call(contract, function, *arguments)
        block = self.chain.final_block() if self._block is None else self._block
        try:
            answer = self._remembered(
                (target, data, block), lambda: self.chain.call(target, data, block)
            )
            return asked.decode(answer)
        except NodeRefused as error:
            if error.data:
                raise self._refused(contract, function, error) from error
            if not error.reverted:  # the endpoint, not the contract
                raise
            raise self._no_answer(contract, function, error) from error
        except Undecodable as error:
            raise self._no_answer(contract, function, error) from error

    def _no_answer(self, contract: str, function: str, error: Exception) -> ContractsMissing:
        target = self._addresses_by_name[contract]
        return ContractsMissing(f"{contract} at {target} does not answer {function}: {error}")

    def _write(self, contract: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        target, data = self.encode_call(contract, function, *arguments)
        transaction = {"to": target, "data": "0x" + data.hex(), "value": value}
        try:
            return self.chain.send(self._sender(), transaction)
        except NodeRefused as error:
            if error.reverted:
                raise self._refused(contract, function, error) from error
            raise ChainUnavailable(
                f"{self.chain.shown} did not accept {contract}.{function}: {error}"
            ) from None

    def tend(self, *, starting: bool = False) -> None:
        """Send again and reprice what the account signed and is not final. Daemons call it.

        Args:
            starting: Look as well for final transactions that a reorganization dropped.
        """
        self.chain.tend(self._sender(), starting=starting)

    def _refused(self, contract: str, function: str, error: NodeRefused) -> ContractRefused:
        selector = error.data[:4]
        for interface in self._interfaces.values():
            known = interface.errors.get(selector)
            if known is None:
                continue
            try:
                words = refusal(known.name, known.decode(error.data))
            except Undecodable:
                break
            return ContractRefused(f"{contract}.{function} was refused: {words}", known.name)
        return ContractRefused(f"{contract}.{function} was refused: {error}")


def _shown(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
