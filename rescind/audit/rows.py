"""Rows in the answers to queries. Amounts are in wei, times in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContributionRow:
    """One contribution or rejection.

    Attributes:
        weight: Basis points; 0 if it was rejected.
        outcome: "accepted", or the reason of the rejection.
    """

    round_id: int
    organization: str
    name: str
    artifact_id: str
    digest_root: str
    weight: int
    score: int
    reward_wei: int
    outcome: str


@dataclass(frozen=True)
class TermRow:
    """One delta in a model; round 0 is a counter-delta."""

    round_id: int
    organization: str
    name: str
    artifact_id: str
    digest_root: str
    weight: int


@dataclass(frozen=True)
class AmendmentRow:
    """The change that a withdrawal made to a model.

    Attributes:
        excludes: Whether nothing of the organization remains in it. Otherwise the organization's
            deltas of rounds from `from_round` on were replaced or counteracted.
        first_model: The first model with the change.
    """

    withdrawal_id: int
    kind: str
    organization: str
    name: str
    excludes: bool
    from_round: int
    first_model: int


@dataclass(frozen=True)
class ModelRow:
    """A model with its content.

    Attributes:
        removed: Names of the organizations that withdrawals removed from it.
        amendments: The changes that withdrawals made to it, in order.
        content: Every delta in it.
    """

    model_id: int
    adapter_id: str
    digest_root: str
    parent: int
    kind: str
    block: int
    removed: tuple[str, ...]
    amendments: tuple[AmendmentRow, ...]
    content: tuple[TermRow, ...]


@dataclass(frozen=True)
class ModelSummaryRow:
    """A summary of a model.

    Attributes:
        round_id: The last round in it.
        deltas: How many deltas it sums.
        in_use: Whether a withdrawal must replace it.
        released: Whether it stays in use beside later models.
        settled: How the chain accepted it: "proven" (its digests were added up) or "unchallenged".
        transaction: The transaction that registered it.
        clean: Whether it holds nothing of the organization in the query; None if none was given.
    """

    model_id: int
    kind: str
    parent: int
    round_id: int
    deltas: int
    in_use: bool
    released: bool
    adapter_id: str
    digest_root: str
    settled: str
    transaction: str
    clean: bool | None


@dataclass(frozen=True)
class MemberRow:
    """A member.

    Attributes:
        lacking_wei: The amount an active member must pay before it may contribute again.
        exit_at: When the bond of a member that has left can be reclaimed.
        epsilon: The privacy that it states to have spent: a number, "unbounded", or None.
        delta: The delta that goes with `epsilon`.
    """

    organization: str
    name: str
    status: str
    bond_wei: int
    lacking_wei: int
    exit_at: int | None
    pending_reward_wei: int
    fingerprint: str
    epsilon: float | str | None
    delta: float | None


@dataclass(frozen=True)
class Membership:
    """The consortium's members, auditors and aggregator.

    Attributes:
        active: How many members are active.
        bond_wei: The bond of a member.
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
        evidence: SHA-256 of the evidence that auditors attested.
        overdue: Whether it is past its deadline and not closed.
    """

    withdrawal_id: int
    organization: str
    name: str
    method: str
    state: str
    subject: str | None
    expelled: bool
    requested_at: int
    deadline: int
    closed_model: int | None
    evidence: str | None
    overdue: bool


@dataclass(frozen=True)
class RoundRow:
    """A round.

    Attributes:
        participants: Names of the organizations whose contributions were accepted.
        sat_out: Names of the organizations that sat it out.
        transactions: How many transactions it took, with the proof of its sum.
        gas: What they used together.
        model_id: The model that it made; 0 unless it is final.
    """

    round_id: int
    state: str
    participants: tuple[str, ...]
    sat_out: tuple[str, ...]
    transactions: int
    gas: int
    model_id: int
