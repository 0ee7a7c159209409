"""Queries of the public record. Answers are rows, in the order of the chain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from rescind.audit.rows import (
    AmendmentRow,
    ContributionRow,
    MemberRow,
    Membership,
    ModelRow,
    ModelSummaryRow,
    ProposalRow,
    RoundRow,
    TermRow,
    WithdrawalRow,
)
from rescind.contracts import (
    Amendment,
    Consortium,
    Event,
    MemberStatus,
    ModelKind,
    Proposal,
    RoundState,
    StatedPrivacy,
    Withdrawal,
    WithdrawalState,
)
from rescind.core.errors import ConfigError


def names(consortium: Consortium) -> dict[str, str]:
    """Return the members' names by address."""
    return {member.address: member.name for member in consortium.members()}


def organization(consortium: Consortium, name_or_address: str) -> str:
    """Return the address of a member.

    Args:
        consortium: The chain.
        name_or_address: The member's name, or its address in any case.

    Raises:
        ConfigError: No member, or more than one, has this name or address.
    """
    name_of, wanted = names(consortium), name_or_address.lower()
    matches = [address for address in name_of if address.lower() == wanted]
    matches = matches or [address for address, name in name_of.items() if name == name_or_address]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(
            f"{len(matches)} members are named {name_or_address!r}: give the address instead"
        )
    members = ", ".join(name_of.values()) or "none so far"
    raise ConfigError(
        f"no member has the name or the address {name_or_address!r}. Members: {members}."
    )


def contributions(consortium: Consortium) -> list[ContributionRow]:
    """Return every contribution and rejection, by round."""
    name_of, rows = names(consortium), []
    for round_id in range(1, consortium.current_round_id() + 1):
        answers = consortium.answers(round_id)
        rows += [
            ContributionRow(
                round_id,
                contribution.organization,
                name_of[contribution.organization],
                contribution.artifact_id,
                contribution.digest_root,
                contribution.weight,
                contribution.score,
                consortium.credited(round_id, contribution.organization),
                "accepted",
            )
            for contribution in consortium.contributions(round_id)
        ]
        for refusal in consortium.rejections(round_id):
            address = refusal.organization
            rows.append(
                ContributionRow(
                    round_id,
                    address,
                    name_of[address],
                    answers[address].artifact_id,
                    answers[address].digest_root,
                    0,
                    0,
                    0,
                    refusal.reason.name.lower().replace("_", "-"),
                )
            )
    return rows


def lineage(consortium: Consortium, model_id: int | None = None) -> list[ModelRow]:
    """Return the content of every model, or of one.

    Args:
        consortium: The chain.
        model_id: The model; None for all.

    Raises:
        ConfigError: There is no such model.
    """
    count = consortium.model_count()
    if model_id is not None and not 0 <= model_id <= count:
        raise ConfigError(f"there is no model {model_id}: they are numbered from 1 to {count}")
    name_of, amendments = names(consortium), consortium.amendments()
    wanted = range(1, count + 1) if model_id is None else [model_id]
    rows = []
    for number in wanted:
        model = consortium.model(number)
        changes = amendments[: model.amendments]
        rows.append(
            ModelRow(
                number,
                model.adapter_id,
                model.digest_root,
                model.parent,
                model.kind.value,
                model.block,
                tuple(name_of[change.organization] for change in changes if change.excludes),
                tuple(_amendment_row(change, name_of) for change in changes),
                tuple(
                    TermRow(
                        t.round_id,
                        t.organization,
                        name_of[t.organization],
                        t.artifact_id,
                        t.digest_root,
                        t.weight,
                    )
                    for t in consortium.content(number)
                ),
            )
        )
    return rows


def models(consortium: Consortium, organization: str | None = None) -> list[ModelSummaryRow]:
    """Return a summary of every model.

    Args:
        consortium: The chain.
        organization: An address, to say for each model whether it holds nothing of that organization.
    """
    settled = _settlements(consortium.events())
    rows = []
    for number in range(1, consortium.model_count() + 1):
        model = consortium.model(number)
        settlement, transaction = settled[number]
        rows.append(
            ModelSummaryRow(
                number,
                model.kind.value,
                model.parent,
                model.round_id,
                len(consortium.content(number)),
                model.in_use,
                model.released,
                model.adapter_id,
                model.digest_root,
                settlement,
                transaction,
                None if organization is None else consortium.is_clean(number, organization),
            )
        )
    return rows


def _privacy(stated: StatedPrivacy | None) -> tuple[float | str | None, float | None]:
    if stated is None:
        return None, None
    return "unbounded" if math.isinf(stated.epsilon) else stated.epsilon, stated.delta


def membership(consortium: Consortium) -> Membership:
    """Return the members with their bonds, the auditors and the aggregator."""
    required, required_of_aggregator = consortium.bond(), consortium.required_aggregator_bond()
    aggregator_bond = consortium.aggregator_bond()
    members = consortium.members()
    rows = tuple(
        MemberRow(
            member.address,
            member.name,
            member.status.value,
            member.bond,
            max(0, required - member.bond) if member.status is MemberStatus.ACTIVE else 0,
            member.exit_at or None,
            consortium.pending_reward(member.address),
            member.fingerprint,
            *_privacy(consortium.privacy_spent(member.address)),
        )
        for member in members
    )
    return Membership(
        rows,
        sum(member.status is MemberStatus.ACTIVE for member in members),
        required,
        tuple(consortium.auditors()),
        consortium.aggregator(),
        consortium.aggregator_fingerprint(),
        aggregator_bond,
        max(0, required_of_aggregator - aggregator_bond),
    )


def proposals(consortium: Consortium) -> list[ProposalRow]:
    """Return the members' proposals with their votes."""
    proposed = consortium.proposals()
    if not proposed:
        return []
    name_of, now = names(consortium), consortium.chain.now()
    active = [m for m in consortium.members() if m.status is MemberStatus.ACTIVE]
    needed = len(active) * consortium.vote_threshold() // 10_000 + 1
    return [
        ProposalRow(
            proposal.id,
            proposal.proposer,
            name_of[proposal.proposer],
            proposal.call,
            proposal.votes,
            needed,
            proposal.deadline,
            proposal.executed,
            _proposal_state(proposal, needed, now),
        )
        for proposal in proposed
    ]


def withdrawals(consortium: Consortium) -> list[WithdrawalRow]:
    """Return every withdrawal."""
    name_of, now = names(consortium), consortium.chain.now()
    return [
        WithdrawalRow(
            withdrawal.id,
            withdrawal.organization,
            name_of[withdrawal.organization],
            withdrawal.method.value,
            withdrawal.state.value,
            withdrawal.subject or None,
            withdrawal.expelled,
            withdrawal.requested_at,
            withdrawal.deadline,
            withdrawal.closed_model or None,
            withdrawal.evidence or None,
            overdue=_overdue(withdrawal, now),
        )
        for withdrawal in consortium.withdrawals()
    ]


def rounds(consortium: Consortium) -> list[RoundRow]:
    """Return participation, transactions and gas of each round, from the contracts' events."""
    name_of = names(consortium)
    transactions = _transactions_of_rounds(consortium.events())
    rows = []
    for round_id in range(1, consortium.current_round_id() + 1):
        round_, sent = consortium.round(round_id), transactions.get(round_id, set())
        took_part = [name_of[c.organization] for c in consortium.contributions(round_id)]
        sat_out = [
            name_of[address]
            for address, answer in consortium.answers(round_id).items()
            if answer.state.value == "sat-out"
        ]
        rows.append(
            RoundRow(
                round_id,
                round_.state.value,
                tuple(took_part),
                tuple(sat_out),
                len(sent),
                sum(consortium.gas_of(tx) for tx in sent),
                round_.model_id if round_.state is RoundState.FINAL else 0,
            )
        )
    return rows


def _amendment_row(amendment: Amendment, name_of: dict[str, str]) -> AmendmentRow:
    return AmendmentRow(
        amendment.withdrawal_id,
        amendment.kind.value,
        amendment.organization,
        name_of[amendment.organization],
        amendment.excludes,
        amendment.from_round,
        amendment.first_model,
    )


def _overdue(withdrawal: Withdrawal, now: int) -> bool:
    return withdrawal.state is not WithdrawalState.CLOSED and now > withdrawal.deadline


def _proposal_state(proposal: Proposal, needed: int, now: int) -> str:
    if proposal.executed:
        return "executed"
    if now > proposal.deadline:
        return "expired"
    return "carried" if proposal.votes >= needed else "open"


def _settlements(events: Iterable[Event]) -> dict[int, tuple[str, str]]:
    """By model: "proven" or "unchallenged", and the transaction that registered it."""
    words = {"ModelProven": "proven", "ModelSettled": "unchallenged"}
    settled, word = {}, ""
    for event in events:
        word = words.get(event.name, word)
        if event.name == "ModelRegistered":
            settled[int(str(event.args["model"]))] = (word, event.tx_hash)
    return settled


def _transactions_of_rounds(events: Iterable[Event]) -> dict[int, set[str]]:
    """By round: its own transactions, and those that added up its sum."""
    transactions: dict[int, set[str]] = {}
    for round_id, event in _events_of_rounds(events):
        transactions.setdefault(round_id, set()).add(event.tx_hash)
    return transactions


def _events_of_rounds(events: Iterable[Event]) -> Iterator[tuple[int, Event]]:
    claimed = 0
    for event in events:
        if event.contract == "Rounds" and "round" in event.args:
            yield int(str(event.args["round"])), event
        elif event.name == "ModelClaimed":
            of_round = event.args["kind"] == ModelKind.ROUND.number
            claimed = int(str(event.args["round"])) if of_round else 0
        elif event.name in ("SumCarried", "ModelProven", "ModelSettled") and claimed:
            yield claimed, event
