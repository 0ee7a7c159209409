"""What the public record says, as values. Addresses are EIP-55, ids lowercase hexadecimal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class MemberStatus(Enum):
    NONE = "none"
    ADMITTED = "admitted"
    ACTIVE = "active"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"


class RoundState(Enum):
    NONE = "none"
    OPEN = "open"
    COMMITTED = "committed"
    REVEALED = "revealed"
    FINAL = "final"
    ABANDONED = "abandoned"

    @property
    def over(self) -> bool:
        return self in (RoundState.FINAL, RoundState.ABANDONED)


class AnswerState(Enum):
    NONE = "none"
    COMMITTED = "committed"
    SAT_OUT = "sat-out"
    REVEALED = "revealed"


class ModelKind(Enum):
    ROUND = "round"
    REMOVAL = "removal"


class WithdrawalState(Enum):
    NONE = "none"
    REQUESTED = "requested"
    CLOSED = "closed"


class RejectReason(Enum):
    MISSING = 1
    WRONG_HASH = 2
    TOO_LARGE = 3
    MALFORMED = 4
    WRONG_SHAPE = 5
    WRONG_TYPE = 6
    OUT_OF_BOUNDS = 7
    BAD_SIGNATURE = 8
    WITHDRAWN = 9
    ZERO = 10


@dataclass(frozen=True)
class Member:
    address: str
    name: str
    fingerprint: str
    bond: int
    status: MemberStatus


@dataclass(frozen=True)
class Round:
    """Times are Unix seconds on the chain's clock."""

    id: int
    state: RoundState
    opened_at: int
    commit_deadline: int
    reveal_deadline: int
    finalize_deadline: int
    parent_model: int
    model_id: int
    aggregate_id: str


@dataclass(frozen=True)
class Answer:
    state: AnswerState
    commitment: str
    artifact_id: str


@dataclass(frozen=True)
class Contribution:
    organization: str
    artifact_id: str
    weight: int
    score: int


@dataclass(frozen=True)
class Rejection:
    organization: str
    reason: RejectReason


@dataclass(frozen=True)
class Model:
    """`round_id`: the last final round in it; `excluded`: how many organizations are removed."""

    id: int
    adapter_id: str
    parent: int
    round_id: int
    excluded: int
    block: int
    kind: ModelKind


@dataclass(frozen=True)
class Withdrawal:
    id: int
    organization: str
    state: WithdrawalState
    requested_at: int
    deadline: int
    closed_model: int


@dataclass(frozen=True)
class Anchor:
    size: int
    block: int
    root: str


@dataclass(frozen=True)
class Receipt:
    tx_hash: str
    block: int
    gas_used: int


@dataclass(frozen=True)
class Event:
    block: int
    tx_hash: str
    contract: str
    name: str
    args: Mapping[str, object]
