"""Transactions and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Receipt:
    """A transaction that is final."""

    tx_hash: str
    block: int
    gas_used: int


@dataclass(frozen=True)
class Event:
    """An event of one of the contracts, its arguments as web3 decodes them."""

    block: int
    tx_hash: str
    contract: str
    name: str
    args: Mapping[str, object]
