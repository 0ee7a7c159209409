"""Rows in the answers to queries. Amounts are in wei, times in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContributionRow:
    """Something that an organization registered.

    Attributes:
        registered_for: "round", "withdrawal N" or "replay N".
        round_id: The round; 0 for a counter-delta.
        artifact_ids: SHA-256 of each part's artifact.
        point_hashes: Hash of each part's point.
        manifest: Commitment to the data that was trained on; None if there is none.
        score: The aggregator's score, 0 to 10,000; 0 unless it was accepted in its round.
        reward_wei: Its share of the round's reward; 0 unless it was accepted in its round.
        outcome: "accepted", "offered", "revealed" before the aggregator judged, "left" if its
            organization left before the round was final, or the reason of the rejection.
        models: The models in use that hold it, stale ones too.
    """

    registered_for: str
    round_id: int
    organization: str
    name: str
    artifact_ids: tuple[str, ...]
    point_hashes: tuple[str, ...]
    manifest: str | None
    score: int
    reward_wei: int
    outcome: str
    models: tuple[int, ...]


@dataclass(frozen=True)
class EntryRow:
    """One part of a contribution in a model; round 0 is a counter-delta."""

    part: int
    round_id: int
    organization: str
    name: str
    artifact_id: str
    point_hash: str
    weight: int


@dataclass(frozen=True)
class CommitmentRow:
    """A model's commitment for one part.

    Attributes:
        commitment: keccak256 of the point, as the contract keeps it.
        point: The point of BLS12-381 G1, 128 bytes in hexadecimal, from the contract's events.
    """

    model_id: int
    part: int
    commitment: str
    point: str


@dataclass(frozen=True)
class AmendmentRow:
    """A change that a withdrawal or a replay made.

    Attributes:
        name: The organization's name; empty for a replay.
        offered_for: Where its points come from: "withdrawal N" or "replay N"; None in a removal.
        from_round: First round that it changes; 0 for all of them and for a counter-delta.
        to_round: Last round that was trained again, in a replay.
    """

    number: int
    kind: str
    organization: str
    name: str
    offered_for: str | None
    from_round: int
    to_round: int


@dataclass(frozen=True)
class PublicationRow:
    """A publisher's word on which files are a model."""

    publisher: str
    adapter_id: str
    opening_id: str


@dataclass(frozen=True)
class ModelRow:
    """A model with its content.

    Attributes:
        commitments: Hash of its commitment for each part.
        removed: Names of the organizations that are out of it.
        amendments: The changes that it has, in order.
        publications: What publishers said its files are, oldest first.
        content: Every contribution in it, part by part.
    """

    model_id: int
    kind: str
    source: int
    last_round: int
    registered_at: int
    commitments: tuple[str, ...]
    removed: tuple[str, ...]
    amendments: tuple[AmendmentRow, ...]
    publications: tuple[PublicationRow, ...]
    content: tuple[EntryRow, ...]


@dataclass(frozen=True)
class ModelSummaryRow:
    """A summary of a model.

    Attributes:
        contributions: How many contributions its first part sums.
        in_use: Whether it is the head or a released model that was not retired.
        stale: Whether a withdrawal concerns it that is not carried out in it.
        released: Whether it stays in use beside later models.
        adapter_id: The file that was published last for it, by its publisher's word; None if none.
        clean: Whether it holds nothing of the organization in the query; None if none was given.
    """

    model_id: int
    kind: str
    source: int
    last_round: int
    contributions: int
    in_use: bool
    stale: bool
    released: bool
    commitments: tuple[str, ...]
    adapter_id: str | None
    clean: bool | None


@dataclass(frozen=True)
class MemberRow:
    """An organization that was admitted or joined.

    Attributes:
        number: Its place in the order of joining; None before it joined.
        lacking_wei: The amount an active member must pay before it may contribute again.
        exit_at: When the bond of a member that has left can be reclaimed.
        claimable_wei: Its rewards of final rounds that it has not claimed.
        epsilon: The privacy that it states to have spent: a number, "unbounded", or None.
        delta: The delta that goes with `epsilon`.
    """

    organization: str
    name: str
    number: int | None
    status: str
    bond_wei: int
    lacking_wei: int
    exit_at: int | None
    claimable_wei: int
    fingerprint: str
    epsilon: float | str | None
    delta: float | None


@dataclass(frozen=True)
class Membership:
    """The consortium's members, auditors and aggregator.

    Attributes:
        active: How many members are active.
        bond_wei: The bond of a member.
        aggregator: Its address; empty while there is none.
        aggregator_lacking_wei: The amount missing from the aggregator's bond. No round opens unless
            it is 0.
    """

    members: tuple[MemberRow, ...]
    active: int
    bond_wei: int
    auditors: tuple[str, ...]
    aggregator: str
    aggregator_fingerprint: str
    aggregator_bond_wei: int
    aggregator_lacking_wei: int


@dataclass(frozen=True)
class ProposalRow:
    """A proposal.

    Attributes:
        needed: How many votes of active members carry it now.
        state: "open", "carried" (may be executed), "executed" or "expired".
    """

    proposal_id: int
    proposer: str
    name: str
    call: str
    votes: int
    needed: int
    deadline: int
    executed: bool
    state: str


@dataclass(frozen=True)
class WithdrawalRow:
    """A withdrawal.

    Attributes:
        subject: A salted commitment to one data subject; None for the whole organization.
        deadline: When its present state is late; None where it cannot be.
        amendment: The last amendment that it made; None before it made one.
        stale_models: The models in use that still miss its amendment.
        closed_model: The head when it was closed.
        evidence: SHA-256 of what the auditors attested.
        overdue: Whether it is past its deadline.
    """

    withdrawal_id: int
    organization: str
    name: str
    method: str
    state: str
    subject: str | None
    expelled: bool
    requested_at: int
    deadline: int | None
    amendment: int | None
    stale_models: tuple[int, ...]
    closed_model: int | None
    evidence: str | None
    overdue: bool


@dataclass(frozen=True)
class ReplayRow:
    """Rounds that members train again.

    Attributes:
        number: Its place in the order of replays, from 1.
        withdrawals: The withdrawals that it is for.
        round_id: The round that members train now; None once it is done.
        amendment: The amendment that it became; None while it runs.
        waits_for: Names of the members that the present round waits for.
        offered: How many contributions were trained again so far.
    """

    number: int
    withdrawals: tuple[int, ...]
    from_round: int
    to_round: int
    round_id: int | None
    deadline: int | None
    amendment: int | None
    waits_for: tuple[str, ...]
    offered: int


@dataclass(frozen=True)
class WaitRow:
    """Something that the consortium waits for.

    Attributes:
        subject: What waits, such as "round 3" or "withdrawal 2".
        waits_for: What has to happen, and by whom.
        deadline: When it is late; None if anyone can do it now.
        overdue: Whether it is late.
        consequence: What anyone may do once it is late.
    """

    subject: str
    waits_for: str
    deadline: int | None
    overdue: bool
    consequence: str


@dataclass(frozen=True)
class RoundRow:
    """A round.

    Attributes:
        participants: Names of the organizations whose contributions were accepted.
        sat_out: Names of the organizations that sat it out.
        unavailable: Names of the organizations that could not get the parent model.
        attested: Whether auditors attested that every accepted contribution opens its point.
        transactions: How many transactions it took, with its sum and its fold.
        gas: What they used together.
        model_id: The model that it made; 0 unless it is final.
    """

    round_id: int
    state: str
    participants: tuple[str, ...]
    sat_out: tuple[str, ...]
    unavailable: tuple[str, ...]
    attested: bool
    transactions: int
    gas: int
    model_id: int
