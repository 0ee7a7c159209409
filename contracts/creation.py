"""Compare the transactions that created a consortium's contracts with the published artifacts.

Runtime code says nothing about what a constructor wrote into storage: a founder could create the
published runtime code by other creation code that also gives it votes. So the input of each
creation must be the published creation code, followed by exactly the arguments that the contracts
show, and every address among them must be one of the deployment's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.abi import collapse_if_tuple

from rescind.contracts.chain import Chain
from rescind.contracts.checksum import created_address
from rescind.contracts.compiled import load_compiled
from rescind.contracts.decoding import Struct
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import ContractsMissing
from rescind.contracts.rpc import Answer, NodeRefused

_SEARCHED_BLOCKS = 1_000
"""How far before the last deployment a creation is looked for when the contracts file names none."""

Read = Callable[..., Any]


def check_creations(chain: Chain, deployment: Deployment, read: Read) -> None:
    """Check how each contract was created.

    Args:
        chain: The chain.
        deployment: Where the contracts are, and which transactions created them.
        read: Calls a view function: contract, function, arguments.

    Raises:
        ContractsMissing: A creation is not found, has other code or arguments, or was in a later
            block than the last one.
    """
    transactions = _creations(chain, deployment)
    addresses = deployment.addresses()
    for name, address in addresses.items():
        data = transactions[address]["input"].data()
        code = bytes.fromhex(load_compiled(name).bytecode)
        if not data.startswith(code):
            raise ContractsMissing(
                f"the contract {name} at {address} was created by other code than the published "
                "one, so its storage may hold anything. Do not join this consortium."
            )
        _check_arguments(name, address, data[len(code) :], addresses, read)
    last = max(each["blockNumber"].number() for each in transactions.values())
    if last != deployment.block:
        # Events are read from this block on: with a later one the first of them would be hidden.
        raise ContractsMissing(
            f"the contracts file says that the last contract was created in block "
            f"{deployment.block}, but that was in block {last}. Ask the founder for the right file."
        )


def _check_arguments(
    name: str, address: str, data: bytes, addresses: Mapping[str, str], read: Read
) -> None:
    inputs = _constructor_inputs(name)
    types = [collapse_if_tuple(item) for item in inputs]
    try:
        given = decode(types, data)
    except Exception as error:  # eth_abi raises many types for bytes that are not its encoding
        raise ContractsMissing(
            f"the constructor arguments of {name} at {address} cannot be decoded: {error}"
        ) from error
    expected = _expected(name, inputs, given, addresses, read)
    # The bytes are compared as well: an encoding can carry more than what is decoded.
    if encode(types, expected) != data:
        for item, value, expected_value in zip(inputs, given, expected, strict=True):
            if _flat(value) != _flat(expected_value):
                raise ContractsMissing(
                    f"the contract {name} at {address} was created with {item['name']} {value}, but "
                    f"the consortium shows {expected_value}. Do not join this consortium."
                )
        raise ContractsMissing(
            f"the contract {name} at {address} was created with more than its arguments. Do not "
            "join this consortium."
        )


def _expected(
    name: str,
    inputs: list[dict[str, Any]],
    given: tuple[Any, ...],
    addresses: Mapping[str, str],
    read: Read,
) -> list[Any]:
    """Return the arguments that follow from the deployment and from what the contracts show."""
    values = []
    for item, value in zip(inputs, given, strict=True):
        argument = item["name"].strip("_")
        contract = argument.capitalize()
        if contract in addresses:
            values.append(addresses[contract])
        elif argument == "aggregator":
            # The first aggregator may have been replaced by vote since: its address hides no
            # power, and `AggregatorChanged` shows it.
            values.append(value)
        elif argument in ("chained", "rules"):
            values.append(_plain(read("Rounds", "settings")[argument]))
        else:
            values.append(_plain(read(name, argument)))
    return values


def _constructor_inputs(name: str) -> list[dict[str, Any]]:
    abi = load_compiled(name).abi
    return next((item["inputs"] for item in abi if item["type"] == "constructor"), [])


def _plain(value: Any) -> Any:
    """Return a decoded struct as the tuple that the ABI encodes."""
    if isinstance(value, Struct):
        return tuple(_plain(each) for each in value.values())
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _flat(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_flat(each) for each in value)
    return value.lower() if isinstance(value, str) else value


def _creations(chain: Chain, deployment: Deployment) -> dict[str, Answer]:
    """Return the transaction that created each address."""
    created: dict[str, Answer] = {}
    for name, address in deployment.addresses().items():
        tx_hash = deployment.creations.get(name)
        if tx_hash is not None:
            transaction = _transaction(chain, tx_hash)
            if transaction is not None and _created(transaction) == address:
                created[address] = transaction
    missing = set(deployment.addresses().values()) - set(created)
    if missing:
        created |= _search(chain, deployment.block, missing)
    for name, address in deployment.addresses().items():
        if address not in created:
            raise ContractsMissing(
                f"no transaction in the {_SEARCHED_BLOCKS:,} blocks up to {deployment.block} "
                f"created {name} at {address}. Ask the founder for a contracts file that names the "
                "creating transactions."
            )
    return created


def _search(chain: Chain, last_block: int, missing: set[str]) -> dict[str, Answer]:
    created: dict[str, Answer] = {}
    for number in range(last_block, max(-1, last_block - _SEARCHED_BLOCKS), -1):
        for transaction in chain.transactions(number):
            address = _created(transaction)
            if address in missing:
                created[address] = transaction
        if len(created) == len(missing):
            break
    return created


def _transaction(chain: Chain, tx_hash: str) -> Answer | None:
    try:
        return chain.transaction(tx_hash)
    except NodeRefused:
        return None


def _created(transaction: Answer) -> str:
    """Return the address that a transaction creates; empty if it creates none."""
    if not transaction["to"].is_null():
        return ""
    return created_address(transaction["from"].address(), transaction["nonce"].number())
