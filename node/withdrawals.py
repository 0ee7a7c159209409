"""The node's part in withdrawals and replays: ledger records, offers, being ready, its pay."""

from __future__ import annotations

from dataclasses import replace

import structlog

from rescind.contracts import REPLAY_OFFERS, ContractRefused, Withdrawal, WithdrawalMethod
from rescind.core.canonical_json import canonical_json
from rescind.node import settle
from rescind.node.exchange import deliver, in_newest_model
from rescind.node.offers import about_offer, offer_name
from rescind.node.session import Session
from rescind.node.subjects import forget_name
from rescind.node.withdrawal_facts import OfferedDelta, ReplayPaid, RequestFact, WithdrawalFacts
from rescind.wire import SizedArtifact, offer_typed_data, sign_typed


def record(session: Session, withdrawal_id: int) -> None:
    """Record a request in the ledger, with the data subject's name; the chain has only its hash."""
    withdrawal = session.consortium.withdrawal(withdrawal_id)
    request = RequestFact.find(session.journal, withdrawal.subject)
    if request is not None:
        replace(request, withdrawal=withdrawal.id).save(session.journal)
    payload = {
        "withdrawal": withdrawal.id,
        "event": "requested",
        "requested_at": withdrawal.requested_at,
        "method": withdrawal.method.value,
        "scope": "subject" if withdrawal.subject else "organization",
        "expelled": withdrawal.expelled,
    }
    subject = request.subject if request else None
    if withdrawal.subject:
        salt = request.salt if request else None
        payload |= {"commitment": withdrawal.subject, "subject": subject, "salt": salt}
    session.ledger.append("withdrawal", payload, subject=subject, key=f"withdrawal/{withdrawal.id}")
    settle.anchor(session)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, recorded=True).save(session.journal)
    attested = (WithdrawalMethod.REPLAY, WithdrawalMethod.COUNTER_TRAINING)
    if len(session.parameters.parts) > 1 and withdrawal.method in attested:
        # The command refuses it, but anyone can call the contract.
        give_up(session, withdrawal, f"a {withdrawal.method.value} is of one part alone")
    elif withdrawal.subject and request is None:
        why = "the node's journal does not have the data subject of this withdrawal"
        give_up(session, withdrawal, why)


def record_closed(session: Session, withdrawal_id: int) -> None:
    """Record in the ledger that a withdrawal is closed, and delete the data subject's name."""
    withdrawal = session.consortium.withdrawal(withdrawal_id)
    payload = {
        "withdrawal": withdrawal.id,
        "event": "closed",
        "method": withdrawal.method.value,
        "model": withdrawal.closed_model,
        "evidence": withdrawal.evidence,
    }
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{withdrawal.id}/closed")
    settle.anchor(session)
    if withdrawal.subject:
        forget_name(session.journal, withdrawal.subject)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, closed=True).save(session.journal)


def offer(session: Session, offer_id: int, round_id: int) -> None:
    """Register a delta for a withdrawal or a replay on chain."""
    parts = OfferedDelta.load(session.journal, offer_id, round_id).delta.parts
    if offer_id >= REPLAY_OFFERS:
        session.consortium.offer_replayed(round_id, parts)
    else:
        session.consortium.offer(offer_id, round_id, parts)


def deposit(session: Session, offer_id: int, round_id: int) -> None:
    """Send an offered delta to the aggregator, with a signed report of its training."""
    offered = OfferedDelta.load(session.journal, offer_id, round_id)
    _send(session, offered)
    payload = {
        **about_offer(offer_id),
        "event": "offered",
        "round": round_id,
        "artifact": offered.delta.artifact,
        "point_hash": offered.delta.point_hash,
    }
    key = f"{offer_name(offer_id)}/offered/{round_id}"
    session.ledger.append("withdrawal", payload, key=key)
    settle.anchor(session)
    replace(offered, deposited=True).save(session.journal)


def _send(session: Session, offered: OfferedDelta) -> None:
    # The delta comes last, with the report: then the aggregator has all of the offer.
    reports = (offered.report, *({} for _ in offered.delta.parts.artifact_ids[1:]))
    for part, report in reversed(list(enumerate(reports))):
        _send_part(session, offered, part, canonical_json(report))


def _send_part(session: Session, offered: OfferedDelta, part: int, report: bytes) -> None:
    artifact = offered.delta.parts.artifact_ids[part]
    document = offer_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        offer_id=offered.offer_id,
        round_id=offered.round_id,
        artifact_id=artifact,
        size=len(session.store.view(artifact)),
        report=report,
    )
    signature = sign_typed(document, session.account.key)

    def submit(sent: SizedArtifact) -> None:
        session.client.submit_offered(offered.offer_id, offered.round_id, sent, report, signature)

    # A delta that is registered again, without training, has other hiding noise alone.
    deliver(session, artifact, in_newest_model(session, part), submit)


def ready(session: Session, withdrawal_id: int) -> None:
    """Tell the chain that every delta of a withdrawal is offered; a replay is paid for now."""
    session.consortium.ready(withdrawal_id)


def claim_replay(session: Session, replay_id: int) -> None:
    """Take the pay for the rounds of a replay that this node trained again."""
    offered = OfferedDelta.all(session.journal)
    rounds = [fact.round_id for fact in offered if fact.offer_id == replay_id]
    try:
        session.consortium.claim_replay(replay_id, rounds)
    except ContractRefused as refusal:
        # A replay can have no price, or the round may have closed before this node's offer.
        if refusal.reason != "NothingToClaim":
            raise
    ReplayPaid(replay_id).save(session.journal)


def give_up(session: Session, withdrawal: Withdrawal, why: str) -> None:
    """Offer nothing: at its deadline the withdrawal becomes a removal of the organization."""
    structlog.get_logger().error(
        "nothing is offered", withdrawal=withdrawal.id, reason=why, deadline=withdrawal.deadline
    )
    payload = {"withdrawal": withdrawal.id, "event": "nothing-offered", "why": why}
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{withdrawal.id}/given-up")
    settle.anchor(session)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, given_up=True).save(session.journal)
