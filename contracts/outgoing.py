"""Values of an outbox: calls, signed versions of them, and what became of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from rescind.contracts.fees import Fees

MOST_BYTES = 128 * 1024
"""Most bytes of a signed transaction that transaction pools take (geth, Reth, Nethermind)."""


class SendState(Enum):
    """The fate of a transaction."""

    OPEN = "open"
    """Signed, and not known to be final."""
    DONE = "done"
    """Final, and its call succeeded."""
    REVERTED = "reverted"
    """Final, and its call was reverted."""
    CANCELLED = "cancelled"
    """An empty transfer to the sender itself took its place and is final."""
    DROPPED = "dropped"
    """It can never be mined: no node accepts it, or its nonce belongs to another wallet's."""

    @property
    def final(self) -> bool:
        """True once a transaction of ours holds the nonce for good."""
        return self in (SendState.DONE, SendState.REVERTED, SendState.CANCELLED)


@dataclass(frozen=True)
class Call:
    """The effect of a transaction, whatever its nonce and fees.

    Attributes:
        recipient: The called address; empty for the creation of a contract.
        data: The calldata, or the code that creates the contract.
        value: Wei that go along.
    """

    recipient: str
    data: bytes
    value: int

    @classmethod
    def of(cls, transaction: dict[str, Any]) -> Self:
        """Return the call of a transaction's fields `to`, `data` and `value`."""
        data = str(transaction.get("data", "0x")).removeprefix("0x")
        return cls(transaction.get("to", ""), bytes.fromhex(data), transaction["value"])

    @property
    def id(self) -> str:
        """SHA-256 by which the same call is recognized."""
        head = f"{self.recipient.lower()}|{self.value}|".encode()
        return hashlib.sha256(head + self.data).hexdigest()

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a transaction that makes this call."""
        fields: dict[str, Any] = {"data": "0x" + self.data.hex(), "value": self.value}
        return {"to": self.recipient, **fields} if self.recipient else fields


@dataclass(frozen=True)
class Version:
    """One signed form of a transaction. Versions differ in fees, or cancel.

    Attributes:
        tx_hash: Its hash, with 0x.
        raw: The signed bytes.
        fees: Its fees.
        cancels: Whether it is an empty transfer to the sender instead of the call.
        block: The newest block when it was signed.
        signed_at: When it was signed, Unix seconds.
    """

    tx_hash: str
    raw: bytes
    fees: Fees
    cancels: bool
    block: int
    signed_at: float


@dataclass(frozen=True)
class Outcome:
    """Where a version was mined, and with what result."""

    tx_hash: str
    block: int
    gas_used: int
    created: str
    succeeded: bool


@dataclass(frozen=True)
class Outgoing:
    """A transaction of the outbox.

    Attributes:
        number: Its number in the outbox.
        call: What it does.
        label: Its place in a plan of several transactions; empty for any other.
        nonce: Its nonce.
        gas: Its gas limit.
        state: What became of it.
        reported: Whether its outcome reached the caller that wanted it sent.
        process: The process that signed it first.
        by_daemon: Whether that was a daemon, which looks at the chain before it decides.
        versions: Its signed forms, the oldest first.
        outcome: Where it was mined; None while it is open.
    """

    number: int
    call: Call
    label: str
    nonce: int
    gas: int
    state: SendState
    reported: bool
    process: str
    by_daemon: bool
    versions: tuple[Version, ...]
    outcome: Outcome | None

    @property
    def newest(self) -> Version:
        """The version that was signed last."""
        return self.versions[-1]
