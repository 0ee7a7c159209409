"""Events, calls and errors decoded by our own tables, beside web3's own decoding."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3

from rescind.contracts import load_compiled
from rescind.contracts.abi import Interface, Undecodable, load_interface
from rescind.contracts.deployment import NAMES

ADDRESS = Web3.to_checksum_address("0x" + "0a" * 20)
VALUES = {"address": ADDRESS, "bool": True, "string": "a name", "bytes": b"\x01\x02"}


def plain(value: Any) -> Any:
    """A decoded value without web3's own types."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return bytes(value) if isinstance(value, bytes) else value


def fields(value: Any) -> Any:
    return tuple(value.values()) if isinstance(value, dict) else value


def sample(item: dict[str, Any]) -> Any:
    """Return some value of an argument's type."""
    kind = item["type"]
    if kind.endswith("]"):
        count = int(kind[kind.rindex("[") + 1 : -1] or 2)
        return [sample({**item, "type": kind[: kind.rindex("[")]}) for _ in range(count)]
    if kind == "tuple":
        return tuple(sample(each) for each in item["components"])
    if kind.startswith("bytes") and kind != "bytes":
        return bytes(range(int(kind[5:])))
    return VALUES.get(kind, 7)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_and_error_of_the_abi_reads_its_own_encoding(name: str) -> None:
    interface, abi = load_interface(name), load_compiled(name).abi
    contract = Web3().eth.contract(abi=abi)
    for item in abi:
        values = [sample(each) for each in item.get("inputs", [])]
        if item["type"] == "function":
            function = interface.functions[item["name"]]
            data = function.encode(values)
            assert Web3.to_hex(data) == contract.encode_abi(item["name"], values)
            assert interface.called[data[:4]] is function
            expected = contract.decode_function_input(data)[1]
            assert plain(function.decode_arguments(data)) == plain(dict(expected))
        if item["type"] == "error":
            (error,) = [each for each in interface.errors.values() if each.name == item["name"]]
            decoded = error.decode(error.selector + encode(error.types, values))
            assert [fields(value) for _, value in decoded.values()] == values


def test_the_arguments_of_a_constructor_are_encoded_as_web3_encodes_them() -> None:
    for name in NAMES:
        compiled = load_compiled(name)
        inputs = next(item["inputs"] for item in compiled.abi if item["type"] == "constructor")
        values = [sample(item) for item in inputs]
        contract = Web3().eth.contract(abi=compiled.abi, bytecode="0x" + compiled.bytecode)
        expected = contract.constructor(*values).data_in_transaction
        encoded = compiled.bytecode + load_interface(name).encode_constructor(values).hex()
        assert expected == "0x" + encoded


REVEALED = load_interface("Rounds").events["UpdateRevealed"]


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=5), st.binary(max_size=300))
def test_bytes_that_are_not_an_event_are_undecodable_or_have_every_argument(
    topics: list[bytes], data: bytes
) -> None:
    try:
        arguments = REVEALED.decode([REVEALED.topic, *topics], data)
    except Undecodable:
        return
    assert list(arguments) == [item["name"] for item in REVEALED.inputs]


@settings(max_examples=50)
@given(st.sampled_from(sorted(load_interface("Members").functions)), st.binary(max_size=200))
def test_any_bytes_are_a_call_or_undecodable(name: str, data: bytes) -> None:
    function = load_interface("Members").functions[name]
    try:
        function.decode_arguments(function.selector + data)
        function.decode(data)
    except Undecodable:
        pass


def test_a_log_with_another_number_of_topics_is_undecodable() -> None:
    with pytest.raises(Undecodable, match=r"1 topics are not those of Rounds\.UpdateRevealed"):
        REVEALED.decode([REVEALED.topic], b"")


def test_text_that_is_not_utf_8_is_undecodable() -> None:
    abi = [
        {
            "type": "event",
            "name": "Named",
            "inputs": [{"name": "name", "type": "string", "indexed": False}],
        }
    ]
    event = Interface("Test", abi).events["Named"]
    with pytest.raises(Undecodable):
        event.decode([event.topic], encode(["bytes"], [b"\xff\xfe"]))
