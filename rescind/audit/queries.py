"""What the public record says, as rows."""

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
    return {member.address: member.name for member in consortium.members()}


def organization(consortium: Consortium, name_or_address: str) -> str:
    """The address of a member. Raises ConfigError when there is none, or several of that name."""
    known, wanted = names(consortium), name_or_address.lower()
    found = [who for who in known if who.lower() == wanted]
    found = found or [who for who, name in known.items() if name == name_or_address]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{len(found)} members are named {name_or_address!r}: give the address")
    members = ", ".join(known.values()) or "none so far"
    raise ConfigError(f"no member is named or addressed {name_or_address!r}; members: {members}")


def contributions(consortium: Consortium) -> list[ContributionRow]:
    """Who contributed what, and what became of it."""
    known, rows = names(consortium), []
    for round_id in range(1, consortium.current_round_id() + 1):
        answers = consortium.answers(round_id)
        rows += [
            ContributionRow(
                round_id,
                it.organization,
                known[it.organization],
                it.artifact_id,
                it.digest_root,
                it.weight,
                it.score,
                consortium.credited(round_id, it.organization),
                "accepted",
            )
            for it in consortium.contributions(round_id)
        ]
        for refusal in consortium.rejections(round_id):
            who, reason = refusal.organization, refusal.reason.name.lower().replace("_", "-")
            artifact, root = answers[who].artifact_id, answers[who].digest_root
            row = ContributionRow(round_id, who, known[who], artifact, root, 0, 0, 0, reason)
            rows.append(row)
    return rows


def lineage(consortium: Consortium, model_id: int | None = None) -> list[ModelRow]:
    """What each model, or one, is made of. Raises ConfigError for a model that there is not."""
    count = consortium.model_count()
    if model_id is not None and not 0 <= model_id <= count:
        raise ConfigError(f"there is no model {model_id}: they are numbered from 1 to {count}")
    known, amendments = names(consortium), consortium.amendments()
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
                tuple(known[it.organization] for it in changes if it.excludes),
                tuple(_amendment_row(it, known) for it in changes),
                tuple(
                    TermRow(
                        t.round_id,
                        t.organization,
                        known[t.organization],
                        t.artifact_id,
                        t.digest_root,
                        t.weight,
                    )
                    for t in consortium.content(number)
                ),
            )
        )
    return rows


def models(consortium: Consortium, who: str | None = None) -> list[ModelSummaryRow]:
    """Every model; with the address `who`, also whether it holds anything of that organization."""
    settled = _settlements(consortium.events())
    rows = []
    for number in range(1, consortium.model_count() + 1):
        model = consortium.model(number)
        how, transaction = settled[number]
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
                how,
                transaction,
                None if who is None else consortium.is_clean(number, who),
            )
        )
    return rows


def _privacy(stated: StatedPrivacy | None) -> tuple[float | str | None, float | None]:
    if stated is None:
        return None, None
    return "unbounded" if math.isinf(stated.epsilon) else stated.epsilon, stated.delta


def membership(consortium: Consortium) -> Membership:
    """Who belongs to the consortium, with which bonds."""
    required, required_of_aggregator = consortium.bond(), consortium.required_aggregator_bond()
    aggregator_bond = consortium.aggregator_bond()
    members = consortium.members()
    rows = tuple(
        MemberRow(
            it.address,
            it.name,
            it.status.value,
            it.bond,
            max(0, required - it.bond) if it.status is MemberStatus.ACTIVE else 0,
            it.exit_at or None,
            consortium.pending_reward(it.address),
            it.fingerprint,
            *_privacy(consortium.privacy_spent(it.address)),
        )
        for it in members
    )
    return Membership(
        rows,
        sum(it.status is MemberStatus.ACTIVE for it in members),
        required,
        tuple(consortium.auditors()),
        consortium.aggregator(),
        consortium.aggregator_fingerprint(),
        aggregator_bond,
        max(0, required_of_aggregator - aggregator_bond),
    )


def proposals(consortium: Consortium) -> list[ProposalRow]:
    """What members have proposed, and how the votes stand."""
    found = consortium.proposals()
    if not found:
        return []
    known, now = names(consortium), consortium.chain.now()
    active = [m for m in consortium.members() if m.status is MemberStatus.ACTIVE]
    needed = len(active) * consortium.vote_threshold() // 10_000 + 1
    return [
        ProposalRow(
            it.id,
            it.proposer,
            known[it.proposer],
            it.call,
            it.votes,
            needed,
            it.deadline,
            it.executed,
            _proposal_state(it, needed, now),
        )
        for it in found
    ]


def withdrawals(consortium: Consortium) -> list[WithdrawalRow]:
    known, now = names(consortium), consortium.chain.now()
    return [
        WithdrawalRow(
            it.id,
            it.organization,
            known[it.organization],
            it.method.value,
            it.state.value,
            it.subject or None,
            it.expelled,
            it.requested_at,
            it.deadline,
            it.closed_model or None,
            it.evidence or None,
            overdue=_overdue(it, now),
        )
        for it in consortium.withdrawals()
    ]


def rounds(consortium: Consortium) -> list[RoundRow]:
    """Participation, transactions and gas of each round, from the contracts' events."""
    known = names(consortium)
    transactions = _transactions_of_rounds(consortium.events())
    rows = []
    for round_id in range(1, consortium.current_round_id() + 1):
        it, sent = consortium.round(round_id), transactions.get(round_id, set())
        took_part = [known[c.organization] for c in consortium.contributions(round_id)]
        sat_out = [
            known[who]
            for who, answer in consortium.answers(round_id).items()
            if answer.state.value == "sat-out"
        ]
        rows.append(
            RoundRow(
                round_id,
                it.state.value,
                tuple(took_part),
                tuple(sat_out),
                len(sent),
                sum(consortium.gas_of(tx) for tx in sent),
                it.model_id if it.state is RoundState.FINAL else 0,
            )
        )
    return rows


def _amendment_row(it: Amendment, known: dict[str, str]) -> AmendmentRow:
    return AmendmentRow(
        it.withdrawal_id,
        it.kind.value,
        it.organization,
        known[it.organization],
        it.excludes,
        it.from_round,
        it.first_model,
    )


def _overdue(it: Withdrawal, now: int) -> bool:
    return it.state is not WithdrawalState.CLOSED and now > it.deadline


def _proposal_state(it: Proposal, needed: int, now: int) -> str:
    if it.executed:
        return "executed"
    if now > it.deadline:
        return "expired"
    return "carried" if it.votes >= needed else "open"


def _settlements(events: Iterable[Event]) -> dict[int, tuple[str, str]]:
    """By model: whether its sum was proven or stood unchallenged, and in which transaction."""
    words = {"ModelProven": "proven", "ModelSettled": "unchallenged"}
    found, how = {}, ""
    for event in events:
        how = words.get(event.name, how)
        if event.name == "ModelRegistered":
            found[int(str(event.args["model"]))] = (how, event.tx_hash)
    return found


def _transactions_of_rounds(events: Iterable[Event]) -> dict[int, set[str]]:
    """Of each round: its own, and those that added up its sum."""
    found: dict[int, set[str]] = {}
    for round_id, event in _events_of_rounds(events):
        found.setdefault(round_id, set()).add(event.tx_hash)
    return found


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
