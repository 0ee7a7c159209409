"""Which block a JSON-RPC request is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_PLACES = {
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getStorageAt": 2,
    "eth_getTransactionCount": 1,
}
"""The place of the block among the parameters."""
_NEWEST = frozenset({"latest", "safe", "finalized"})


def needed_block(method: str, parameters: Sequence[Any]) -> int:
    """Return the number of the newest block that an endpoint must have for a request; -1 for none.

    Example:
        >>> needed_block("eth_call", ({"to": "0x"}, "0x10"))
        16
        >>> needed_block("eth_getLogs", ({"fromBlock": "0x1", "toBlock": "0x20"},))
        32
        >>> needed_block("eth_call", ({"to": "0x"}, "latest"))
        -1
    """
    if method == "eth_getLogs":
        return block_number(_filter_of(parameters).get("toBlock"))
    place = _PLACES.get(method, len(parameters))
    return block_number(parameters[place]) if place < len(parameters) else -1


def is_about_the_newest_block(method: str, parameters: Sequence[Any]) -> bool:
    """Return whether a request reads the state after a block that it names, not numbers."""
    place = _PLACES.get(method, len(parameters))
    return place < len(parameters) and parameters[place] in _NEWEST


def is_fixed(method: str, parameters: Sequence[Any]) -> bool:
    """Return whether a request reads the state after a block that it numbers."""
    return needed_block(method, parameters) >= 0


def asks_for_logs_by_hash(method: str, parameters: Sequence[Any]) -> bool:
    """Return whether a request is for the logs of a block that it names by hash."""
    return method == "eth_getLogs" and "blockHash" in _filter_of(parameters)


def asks_for_one_block(method: str, parameters: Sequence[Any]) -> bool:
    """Return whether a request is for the logs of a single block, so that none can be left out."""
    if method != "eth_getLogs":
        return False
    wanted = _filter_of(parameters)
    return "blockHash" in wanted or wanted.get("fromBlock") == wanted.get("toBlock")


def _filter_of(parameters: Sequence[Any]) -> Mapping[str, Any]:
    first = parameters[0] if parameters else None
    return first if isinstance(first, Mapping) else {}


def at_number(method: str, parameters: Sequence[Any], number: int) -> tuple[Any, ...]:
    """Return the parameters of a request with a number for its block."""
    changed = list(parameters)
    changed[_PLACES[method]] = hex(number)
    return tuple(changed)


def block_number(block: Any) -> int:
    """Return the number of a block in a request or an answer; -1 for a name."""
    if not isinstance(block, str) or not block.startswith("0x"):
        return -1
    try:
        return int(block, 16)
    except ValueError:
        return -1
