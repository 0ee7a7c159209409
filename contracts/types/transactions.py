"""Transactions and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """A transaction that is final.

    Attributes:
        tx_hash: Its hash, with 0x.
        block: The number of its block.
        gas_used: The gas that it used.
        created: Address of the contract that it created; empty if it created none.
    """

    tx_hash: str
    block: int
    gas_used: int
    created: str = ""


@dataclass(frozen=True)
class Event:
    """An event of one of the contracts, its arguments by name."""

    block: int
    tx_hash: str
    contract: str
    name: str
    args: Mapping[str, object]
