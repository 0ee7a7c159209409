"""What the public record says, as values. Addresses are EIP-55, ids lowercase hexadecimal, times
Unix seconds on the chain's clock, amounts wei."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class MemberStatus(Enum):
    NONE = "none"
    ADMITTED = "admitted"
    ACTIVE = "active"
    LEFT = "left"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"


class RoundState(Enum):
    NONE = "none"
    OPEN = "open"
    COMMITTED = "committed"
    REVEALED = "revealed"
    AGGREGATED = "aggregated"
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
    """How a model came about; but for `ROUND`, the method of the withdrawal that it carries out."""

    ROUND = "round"
    REMOVAL = "removal"
    REPLACEMENT = "replacement"
    REPLAY = "replay"
    COUNTER_TRAINING = "counter-training"

    @property
    def number(self) -> int:
        return list(ModelKind).index(self)


class WithdrawalState(Enum):
    NONE = "none"
    PREPARING = "preparing"
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
    WRONG_DIGEST = 11


@dataclass(frozen=True)
class Member:
    address: str
    name: str
    fingerprint: str
    bond: int
    exit_at: int
    status: MemberStatus


@dataclass(frozen=True)
class Round:
    id: int
    state: RoundState
    opened_at: int
    commit_deadline: int
    reveal_deadline: int
    finalize_deadline: int
    parent_model: int
    model_id: int


@dataclass(frozen=True)
class DeltaId:
    """How integers are registered: SHA-256 of the artifact, Merkle root of the linear digest."""

    artifact_id: str
    digest_root: str

    def as_tuple(self) -> tuple[bytes, bytes]:
        """Return both as 32 bytes, the form that the contracts take."""
        return bytes.fromhex(self.artifact_id), bytes.fromhex(self.digest_root)


@dataclass(frozen=True)
class Answer:
    state: AnswerState
    commitment: str
    artifact_id: str
    digest_root: str


@dataclass(frozen=True)
class Contribution:
    organization: str
    weight: int
    score: int
    artifact_id: str
    digest_root: str


@dataclass(frozen=True)
class Rejection:
    organization: str
    reason: RejectReason


@dataclass(frozen=True)
class Model:
    """`round_id`: the last final round in it; `amendments`: how many withdrawals have changed it."""

    id: int
    adapter_id: str
    digest_root: str
    parent: int
    round_id: int
    amendments: int
    block: int
    kind: ModelKind
    in_use: bool
    released: bool


@dataclass(frozen=True)
class Amendment:
    """`excludes`: whether the organization is gone; `first_model`: the first model it made."""

    kind: ModelKind
    excludes: bool
    organization: str
    from_round: int
    withdrawal_id: int
    first_model: int


@dataclass(frozen=True)
class Claim:
    """A model that the aggregator has named and that is not registered yet.

    `step`, `place`: how far its sum has got; `carried`: keccak-256 of the digest that the sum has
    come to, empty before the first term.
    """

    kind: ModelKind
    round_id: int
    source: int
    deadline: int
    step: int
    place: int
    must_prove: bool
    claimant: str
    adapter_id: str
    digest_root: str
    carried: str


@dataclass(frozen=True)
class SumTerm:
    """One term of a claim's equation: coefficient x D(delta)."""

    artifact_id: str
    digest_root: str
    coefficient: int


@dataclass(frozen=True)
class Withdrawal:
    """`subject`: a salted commitment to one data subject, or empty for the whole organization."""

    id: int
    organization: str
    state: WithdrawalState
    method: ModelKind
    expelled: bool
    requested_at: int
    deadline: int
    closed_model: int
    subject: str
    evidence: str


@dataclass(frozen=True)
class Offer:
    """A delta registered for a withdrawal. `round_id` 0: one that counteracts; otherwise in place of
    the organization's own of that round."""

    withdrawal_id: int
    round_id: int
    organization: str
    artifact_id: str
    digest_root: str


@dataclass(frozen=True)
class Proposal:
    id: int
    proposer: str
    target: str
    deadline: int
    executed: bool
    votes: int
    call: str


@dataclass(frozen=True)
class Anchor:
    size: int
    block: int
    root: str


@dataclass(frozen=True)
class StatedPrivacy:
    """(epsilon, delta) that an organization says it has spent; `epsilon` is infinite for no bound."""

    epsilon: float
    delta: float
    block: int


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
