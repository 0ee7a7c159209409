"""Functions, events and errors of the contracts, encoded and decoded by their place in the ABI.

Selectors, topics and types are worked out once for each contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.abi import collapse_if_tuple

from rescind.contracts.compiled import load_compiled
from rescind.contracts.decoding import decode_result, decode_value

Items = Sequence[Mapping[str, Any]]
"""Inputs or outputs in an ABI."""


class Undecodable(Exception):
    """Bytes are not the encoding of what they are taken for."""


@dataclass(frozen=True)
class Function:
    """A function of a contract.

    Attributes:
        source: Contract and function, such as "Models.foldOf".
        name: Its name.
        selector: The first four bytes of its calldata.
        inputs: Its arguments in the ABI.
        outputs: Its outputs in the ABI.
        input_types: Types of its arguments.
        output_types: Types of its outputs.
    """

    source: str
    name: str
    selector: bytes
    inputs: Items
    outputs: Items
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]

    @classmethod
    def of(cls, contract: str, item: Mapping[str, Any]) -> Self:
        """Return the function of an item of a contract's ABI."""
        return cls(
            f"{contract}.{item['name']}",
            str(item["name"]),
            _signature_hash(item)[:4],
            item["inputs"],
            item["outputs"],
            _types(item["inputs"]),
            _types(item["outputs"]),
        )

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Return the calldata of a call."""
        return self.selector + encode(self.input_types, arguments)

    def decode(self, data: bytes) -> Any:
        """Return the result of a call; structs and several outputs come as `Struct`.

        Raises:
            Undecodable: The bytes are not such a result.
        """
        values = _decoded(self.output_types, data)
        return decode_result(
            self.source, self.outputs, values[0] if len(self.outputs) == 1 else values
        )

    def decode_arguments(self, data: bytes) -> dict[str, Any]:
        """Return the arguments of a call by name, from its calldata.

        Raises:
            Undecodable: The bytes are not such a call.
        """
        return _named(self.source, self.inputs, _decoded(self.input_types, data[4:]))


@dataclass(frozen=True)
class LoggedEvent:
    """An event of a contract.

    Attributes:
        source: Contract and event, such as "Rounds.RoundOpened".
        contract: The contract.
        name: Its name.
        topic: The first topic of its logs.
        inputs: Its arguments in the ABI.
        indexed: Types of the arguments that stand in topics, by name.
        data: Types of the others, by name.
    """

    source: str
    contract: str
    name: str
    topic: bytes
    inputs: Items
    indexed: Mapping[str, str]
    data: Mapping[str, str]

    @classmethod
    def of(cls, contract: str, item: Mapping[str, Any]) -> Self:
        """Return the event of an item of a contract's ABI."""
        types = {each["name"]: collapse_if_tuple(dict(each)) for each in item["inputs"]}
        indexed = {each["name"] for each in item["inputs"] if each["indexed"]}
        return cls(
            f"{contract}.{item['name']}",
            contract,
            str(item["name"]),
            _signature_hash(item),
            item["inputs"],
            {name: type_ for name, type_ in types.items() if name in indexed},
            {name: type_ for name, type_ in types.items() if name not in indexed},
        )

    def decode(self, topics: Sequence[bytes], data: bytes) -> dict[str, Any]:
        """Return the arguments by name, in the order of the ABI.

        Args:
            topics: The log's topics, with the first one.
            data: The log's data.

        Raises:
            Undecodable: They are not of such an event.
        """
        if len(topics) != len(self.indexed) + 1 or topics[0] != self.topic:
            raise Undecodable(f"its {len(topics)} topics are not those of {self.source}")
        values = dict(zip(self.data, _decoded(tuple(self.data.values()), data), strict=True))
        for (name, type_), topic in zip(self.indexed.items(), topics[1:], strict=True):
            values[name] = _decoded((type_,), topic)[0]
        return _named(self.source, self.inputs, [values[each["name"]] for each in self.inputs])

    def topics_of(self, filters: Mapping[str, int | str]) -> list[bytes | None]:
        """Return the topics that select its logs.

        Args:
            filters: Values of indexed arguments: numbers, or addresses.
        """
        topics = [self.topic, *(_topic(filters.get(name)) for name in self.indexed)]
        while topics[-1] is None:
            topics.pop()
        return topics


@dataclass(frozen=True)
class CustomError:
    """An error with which a contract reverts.

    Attributes:
        name: Its name.
        selector: The first four bytes of the data.
        inputs: Its arguments in the ABI.
        types: Types of its arguments.
    """

    name: str
    selector: bytes
    inputs: Items
    types: tuple[str, ...]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Return the error of an item of a contract's ABI."""
        selector = _signature_hash(item)[:4]
        return cls(str(item["name"]), selector, item["inputs"], _types(item["inputs"]))

    def decode(self, data: bytes) -> dict[str, tuple[str, Any]]:
        """Return type in Solidity and value of each argument, by name.

        Args:
            data: The data of the revert, with the selector.

        Raises:
            Undecodable: The bytes are not such an error.
        """
        values = _named(self.name, self.inputs, _decoded(self.types, data[4:]))
        return {
            item["name"]: (str(item["internalType"]), values[item["name"]]) for item in self.inputs
        }


class Interface:
    """Everything in the ABI of a contract.

    Args:
        contract: The contract's name.
        abi: Its ABI.

    Attributes:
        functions: Functions by name.
        called: Functions by selector.
        events: Events by name.
        logged: Events by topic.
        errors: Errors by selector.
    """

    def __init__(self, contract: str, abi: Items) -> None:
        items = {kind: [each for each in abi if each["type"] == kind] for kind in _KINDS}
        functions = [Function.of(contract, each) for each in items["function"]]
        events = [LoggedEvent.of(contract, each) for each in items["event"]]
        errors = [CustomError.of(each) for each in items["error"]]
        self.contract = contract
        self.functions = {each.name: each for each in functions}
        self.called = {each.selector: each for each in functions}
        self.events = {each.name: each for each in events}
        self.logged = {each.topic: each for each in events}
        self.errors = {each.selector: each for each in errors}
        constructors = [_types(each["inputs"]) for each in items["constructor"]]
        self._constructor_types = constructors[0] if constructors else ()

    def encode_constructor(self, arguments: Sequence[Any]) -> bytes:
        """Return what follows the creation code in the transaction that creates the contract."""
        return encode(self._constructor_types, arguments)


@cache
def load_interface(contract: str) -> Interface:
    """Return the interface of a compiled contract by name."""
    return Interface(contract, load_compiled(contract).abi)


_KINDS = ("function", "event", "error", "constructor")


def _types(items: Items) -> tuple[str, ...]:
    return tuple(collapse_if_tuple(dict(each)) for each in items)


def _signature_hash(item: Mapping[str, Any]) -> bytes:
    return bytes(keccak(f"{item['name']}({','.join(_types(item['inputs']))})".encode()))


def _decoded(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    try:
        return tuple(decode(types, data))
    except (DecodingError, ValueError, OverflowError) as error:
        # Text that is not UTF-8 is a ValueError; a place beyond every index is an OverflowError.
        raise Undecodable(str(error)) from error


def _named(source: str, items: Items, values: Sequence[Any]) -> dict[str, Any]:
    return {
        item["name"]: decode_value(source, item, value)
        for item, value in zip(items, values, strict=True)
    }


def _topic(value: int | str | None) -> bytes | None:
    """Return an indexed number or address as a topic of 32 bytes."""
    if value is None:
        return None
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(32, "big")
