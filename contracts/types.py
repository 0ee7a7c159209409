"""Values of the public record.

Addresses are EIP-55, ids and hashes lowercase hexadecimal without 0x, times Unix seconds on the
chain's clock, amounts wei. A member's number is its place in the order of joining, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rescind.contracts.states import (
    AnswerState,
    MemberStatus,
    ModelKind,
    RejectReason,
    RoundState,
    Rule,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.core import point_hash

NO_MANIFEST = "00" * 32
"""Manifest of a contribution whose data its organization does not commit to."""

REPLAY_OFFERS = 1 << 63
"""Offer ids from here on are replays; below are withdrawals, and 0 is a round itself."""


@dataclass(frozen=True)
class Settings:
    """The consortium's agreement, as far as the chain needs it.

    Attributes:
        parameters_id: SHA-256 of the agreed parameters.
        base_model_id: SHA-256 of the base model's files.
        rules: How the contributions of each part add up.
        chained: Whether a round trains on what all contributed before, so that there are replays.
        attested: Whether a round earns, and its model can be released, only once auditors attested
            that every accepted point opens.
        max_rounds: Most rounds.
        commit_seconds: Time to answer.
        reveal_seconds: Time to reveal.
        judge_seconds: Time for the aggregator to judge.
    """

    parameters_id: str
    base_model_id: str
    rules: tuple[Rule, ...]
    chained: bool
    attested: bool
    max_rounds: int
    commit_seconds: int
    reveal_seconds: int
    judge_seconds: int


@dataclass(frozen=True)
class MemberTerms:
    """Terms of membership; `unavailable_share` is in basis points of the aggregator's bond."""

    bond: int
    aggregator_bond: int
    unrevealed_penalty: int
    exit_seconds: int
    unavailable_share: int
    max_members: int


@dataclass(frozen=True)
class WithdrawalTerms:
    """Terms of withdrawals."""

    preparation_seconds: int
    attestation_seconds: int
    auditor_quorum: int


@dataclass(frozen=True)
class Member:
    """An organization. `number` is 0 also for one that has not joined: look at `status`."""

    address: str
    name: str
    fingerprint: str
    number: int
    bond: int
    exit_at: int
    status: MemberStatus


@dataclass(frozen=True)
class FingerprintClaim:
    """A claim to a TLS certificate.

    The contract does not check it. Accept it only if `proof` verifies with the certificate's key
    over `fingerprint_message`.
    """

    owner: str
    fingerprint: str
    proof: bytes


@dataclass(frozen=True)
class Round:
    """A round; `deadline` is that of its present state, `model_id` 0 before it is final."""

    id: int
    state: RoundState
    attested: bool
    opened_at: int
    deadline: int
    parent_model: int
    model_id: int


@dataclass(frozen=True)
class Answers:
    """Addresses of the members that did something in a round, ascending by member number."""

    committed: tuple[str, ...]
    revealed: tuple[str, ...]
    accepted: tuple[str, ...]
    sat_out: tuple[str, ...]
    unavailable: tuple[str, ...]

    def of(self, organization: str) -> AnswerState:
        """Return what an organization did."""
        if organization in self.revealed:
            return AnswerState.REVEALED
        if organization in self.committed:
            return AnswerState.COMMITTED
        if organization in self.sat_out:
            return AnswerState.SAT_OUT
        if organization in self.unavailable:
            return AnswerState.UNAVAILABLE
        return AnswerState.NONE


@dataclass(frozen=True)
class Parts:
    """The parts of one contribution, as they are committed, revealed and offered together.

    Attributes:
        artifact_ids: SHA-256 of each part's artifact.
        points: Commitment of each part's digest, 128 bytes.
        manifest: Commitment to the data that was trained on, 32 bytes in hexadecimal.
    """

    artifact_ids: tuple[str, ...]
    points: tuple[bytes, ...]
    manifest: str = NO_MANIFEST

    @property
    def point_hashes(self) -> tuple[str, ...]:
        """Hash of each part's point."""
        return tuple(point_hash(point) for point in self.points)


@dataclass(frozen=True)
class Contribution:
    """Parts that an organization registered.

    Attributes:
        offer_id: 0 for what it revealed in the round; otherwise the withdrawal or, with the highest
            of 64 bits set, the replay that it was offered for.
        round_id: The round; 0 for a counter-delta.
        organization: The contributor.
        member_number: Its number.
        parts: What was registered.
    """

    offer_id: int
    round_id: int
    organization: str
    member_number: int
    parts: Parts


@dataclass(frozen=True)
class Rejection:
    """A revealed contribution that the aggregator did not accept."""

    organization: str
    reason: RejectReason


@dataclass(frozen=True)
class Judgement:
    """What the aggregator decided on a round: scores of accepted members, reasons for the others."""

    scores: Mapping[str, int]
    rejections: tuple[Rejection, ...]


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        id: Its number; 0 is the base model alone.
        kind: What it was folded for.
        source: The model that it succeeds.
        last_round: The last round in it.
        amendments: How many amendments its content has.
        registered_at: Time of its registration.
        released: Whether it stays in use when later rounds are final.
        commitments: Hash of its commitment for each part.
    """

    id: int
    kind: ModelKind
    source: int
    last_round: int
    amendments: int
    registered_at: int
    released: bool
    commitments: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """A publisher's word on which files are a model."""

    model_id: int
    publisher: str
    adapter_id: str
    opening_id: str


@dataclass(frozen=True)
class Amendment:
    """A change that a withdrawal makes in every model that it concerns.

    Attributes:
        number: Its place in the order of amendments, from 1.
        kind: Not `ROUND`.
        organization: Whose contributions it changes; empty for a replay.
        member_number: Its number; 0 for a replay.
        from_round: First round that it changes; 0 for all of them and for a counter-delta.
        to_round: Last round that was trained again, in a replay.
        offer_id: Where its points come from; 0 in a removal.
    """

    number: int
    kind: ModelKind
    organization: str
    member_number: int
    from_round: int
    to_round: int
    offer_id: int


@dataclass(frozen=True)
class Fold:
    """How far the successor of a model is folded, or what would be folded.

    Attributes:
        open: Whether a first piece was sent.
        round_id: The round that is added, or 0.
        amendment: The amendment that is made; with a round, the number of amendments there are.
        part: The part whose sum is under way.
        row: The step of that sum that comes next.
        place: How many terms of that step are summed.
        carried: Hash of the sum so far.
    """

    open: bool
    round_id: int
    amendment: int
    part: int
    row: int
    place: int
    carried: str


@dataclass(frozen=True)
class SumProgress:
    """How far the sum of a round's points is.

    Attributes:
        part: The part that is summed next. Parts with the rule `LATEST` are not summed.
        members: How many members' points are in it.
        carried: Hash of the sum so far; zero before the first piece of a part.
    """

    part: int
    members: int
    carried: str


@dataclass(frozen=True)
class Term:
    """One term of a fold: coefficient x point."""

    point_hash: str
    coefficient: int


@dataclass(frozen=True)
class Entry:
    """One contribution in a model, for one part; round 0 is a counter-delta."""

    round_id: int
    organization: str
    member_number: int
    weight: int
    point_hash: str


@dataclass(frozen=True)
class Withdrawal:
    """A request to take contributions back.

    Attributes:
        id: Its number, from 1.
        organization: Whose contributions it concerns.
        state: Where it stands.
        method: How it is carried out.
        expelled: Whether the members' vote requested it.
        requested_at: Time of the request.
        amendment: The last amendment that it made, or 0.
        deadline: When its present state is late; 0 where it cannot be.
        from_round: First round that it changes; 0 for a counter-delta.
        closed_model: The head when it was closed.
        subject: Salted commitment to one data subject; empty for the whole organization.
        evidence: SHA-256 of what the auditors attested, or empty.
    """

    id: int
    organization: str
    state: WithdrawalState
    method: WithdrawalMethod
    expelled: bool
    requested_at: int
    amendment: int
    deadline: int
    from_round: int
    closed_model: int
    subject: str
    evidence: str


@dataclass(frozen=True)
class Replay:
    """Rounds that members train again.

    Attributes:
        id: Its number, which is also the offer id of its points.
        from_round: First round.
        to_round: Last round.
        round_id: The round that members train now; `to_round` + 1 once all are closed.
        deadline: Until when they can offer for it.
        amendment: The amendment that it became; 0 while it runs, or if it ended because every
            withdrawal that it was for became a removal.
        withdrawals: The withdrawals that it is for.
        running: Whether members still train.
    """

    id: int
    from_round: int
    to_round: int
    round_id: int
    deadline: int
    amendment: int
    withdrawals: tuple[int, ...]
    running: bool


@dataclass(frozen=True)
class Proposal:
    """A proposed call with the votes of members that are active now."""

    id: int
    proposer: str
    target: str
    deadline: int
    executed: bool
    votes: int
    call: str


@dataclass(frozen=True)
class Anchor:
    """Size and root of an organization's private ledger; `block` is where they were anchored."""

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
