"""Fees of transactions: what the chain asks for, and by how much a replacement must pay more."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any

from rescind.contracts.endpoint_faults import METHOD_MISSING
from rescind.contracts.errors import ChainUnavailable, NodeRefused
from rescind.contracts.providers import Rpc
from rescind.contracts.rpc import Answer

GWEI = 10**9
DEFAULT_CEILING_GWEI = 500
"""Most gwei for a unit of gas, unless the configuration says otherwise."""
_DEFAULT_TIP = GWEI
_PAST_BLOCKS = 5
_REPLACEMENT = (9, 8)
"""A pool takes a replacement that pays 12.5 % more in both fields (Nethermind, Besu and geth ask for 10 %)."""


@dataclass(frozen=True)
class Fees:
    """Wei for each unit of gas.

    Attributes:
        max_fee: The most that is paid; of a legacy transaction, the price that is paid.
        tip: The part for the block's producer.
        legacy: Whether the transaction is of the type before EIP-1559.
    """

    max_fee: int
    tip: int
    legacy: bool = False

    @property
    def fields(self) -> dict[str, int]:
        """The fields of a transaction."""
        if self.legacy:
            return {"gasPrice": self.max_fee}
        return {"type": 2, "maxFeePerGas": self.max_fee, "maxPriorityFeePerGas": self.tip}

    def replacement(self) -> Fees:
        """Return the least fees that a pool takes in place of these."""
        return Fees(_raised(self.max_fee), _raised(self.tip), self.legacy)

    def doubled(self) -> Fees:
        """Return twice these fees, at least a tip of 1 gwei."""
        return Fees(2 * self.max_fee + GWEI, 2 * self.tip + GWEI, self.legacy)

    def at_least(self, other: Fees) -> Fees:
        """Return the greater of both fees, field by field."""
        return Fees(max(self.max_fee, other.max_fee), max(self.tip, other.tip), self.legacy)


@dataclass(frozen=True)
class Market:
    """Prices of gas in the next block.

    Attributes:
        base_fee: Wei for each unit of gas that are burnt; of a chain before EIP-1559, its gas price.
        tip: Wei for each unit of gas for the block's producer.
        legacy: Whether the chain is one before EIP-1559.
        block: The newest block.
    """

    base_fee: int
    tip: int
    legacy: bool = False
    block: int = 0

    @property
    def least(self) -> int:
        """The least fee with which a transaction is mined now."""
        return self.base_fee + self.tip

    def fees(self, ceiling: int) -> Fees | None:
        """Return fees that last while the base fee doubles; None if they are over the ceiling now.

        Args:
            ceiling: Most wei for a unit of gas.
        """
        if self.least > ceiling:
            return None
        if self.legacy:
            return Fees(self.base_fee, self.base_fee, legacy=True)
        return Fees(min(2 * self.base_fee + self.tip, ceiling), self.tip)


class FeeOracle:
    """Asks a chain for its fees. Providers lack some of the methods, so there are several ways.

    Args:
        rpc: Requests to the chain.
    """

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._missing: set[str] = set()

    def market(self) -> Market:
        """Return what a transaction of the next block pays.

        Raises:
            ChainUnavailable: The chain does not answer.
        """
        history = self._optional("eth_feeHistory", hex(_PAST_BLOCKS), "latest", [50])
        past = _past(history) if history else None
        if past is not None and past.base_fee:
            return replace(past, tip=self._tip(past.base_fee, past.tip))
        # Zeros are also what a chain before EIP-1559 answers.
        newest = self._rpc.request("eth_getBlockByNumber", "latest", False)
        block = newest["number"].number()
        if newest["baseFeePerGas"].is_null():
            price = self._number("eth_gasPrice")
            return Market(_DEFAULT_TIP if price is None else price, 0, legacy=True, block=block)
        # A block's base fee is at most an eighth more than the one before (EIP-1559).
        base_fee = -(-newest["baseFeePerGas"].number() * 9 // 8)
        return Market(
            base_fee, self._tip(base_fee, None if past is None else past.tip), block=block
        )

    def _tip(self, base_fee: int, past: int | None) -> int:
        tip = self._number("eth_maxPriorityFeePerGas")
        if tip is not None:
            return tip
        if past:
            return past
        price = self._number("eth_gasPrice")
        return _DEFAULT_TIP if price is None else max(0, price - base_fee)

    def _number(self, method: str) -> int | None:
        answer = self._optional(method)
        try:
            return None if answer is None else answer.number()
        except ChainUnavailable:
            return None

    def _optional(self, method: str, *parameters: Any) -> Answer | None:
        """Return an answer; None where the provider lacks the method or refuses it."""
        if method in self._missing:
            return None
        try:
            answer = self._rpc.request(method, *parameters)
        except NodeRefused as error:
            if error.fault is METHOD_MISSING:
                self._missing.add(method)
            return None
        return None if answer.is_null() else answer


def _past(history: Answer) -> Market | None:
    """Return the next block's base fee and the median tip of past blocks, if they are there."""
    try:
        fees = [each.number() for each in history["baseFeePerGas"].list()]
        reward = history["reward"]
        tips = [] if reward.is_null() else [each.list()[0].number() for each in reward.list()]
        # The last base fee is that of the block after the newest.
        block = history["oldestBlock"].number() + len(fees) - 2
        return Market(fees[-1], int(statistics.median(tips)) if tips else 0, block=block)
    except (ChainUnavailable, IndexError):
        return None


def in_gwei(wei: int) -> str:
    """Return wei for each unit of gas as gwei, for messages."""
    return f"{wei / GWEI:.9f}".rstrip("0").rstrip(".")


def in_ether(wei: int) -> str:
    """Return wei as ether, for messages."""
    return f"{wei // 10**18}.{wei % 10**18:018d}".rstrip("0").rstrip(".")


def _raised(fee: int) -> int:
    numerator, denominator = _REPLACEMENT
    return max(fee + 1, -(-fee * numerator // denominator))
