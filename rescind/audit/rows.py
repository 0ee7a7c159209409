"""Rows of the answers to queries of the public record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ContributionRow:
    round_id: int
    organization: str
    name: str
    artifact_id: str
    digest_root: str
    weight: int
    score: int
    reward_wei: int
    outcome: str
    """`accepted`, or the reason of the rejection."""


@dataclass(frozen=True)
class TermRow:
    round_id: int
    organization: str
    name: str
    artifact_id: str
    digest_root: str
    weight: int


@dataclass(frozen=True)
class AmendmentRow:
    """What a withdrawal changed in a model. `excludes`: the organization is gone from it; else its
    deltas of rounds from `from_round` on were replaced or counteracted."""

    withdrawal_id: int
    kind: str
    organization: str
    name: str
    excludes: bool
    from_round: int
    first_model: int


@dataclass(frozen=True)
class ModelRow:
    """`content`: every delta in the model; `removed`: names of the organizations it is clean of;
    `amendments`: what withdrawals changed in it, in order."""

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
    """`round_id`: the last round in it; `deltas`: how many it sums. `in_use`, `released`: whether a
    withdrawal must replace it, and whether it stays in use beside later ones. `settled`: how the
    chain came to hold it: `proven` (its digests were added up) or `unchallenged`, in
    `transaction`. `clean`: whether it holds nothing of the organization asked about."""

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
    """`lacking_wei`: what an active member must pay before it may contribute again. `exit_at`: from
    when the bond can be reclaimed, once it has left. `epsilon`, `delta`: the privacy that it says it has
    spent, "unbounded" for no bound, None where it states none."""

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
    """`aggregator_lacking_wei`: while it is not 0, no round opens."""

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
    """`needed`: how many votes of active members carry it now. `state`: `open`, `carried` (may be
    executed), `executed` or `expired`."""

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
    """`subject`: a salted commitment to one data subject, None for the whole organization.
    `evidence`: hash of what auditors attested. `overdue`: past its deadline and not closed."""

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
    round_id: int
    state: str
    participants: tuple[str, ...]
    sat_out: tuple[str, ...]
    transactions: int
    gas: int
    model_id: int
