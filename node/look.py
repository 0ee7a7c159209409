"""The view of a node: what the chain, at one block, and the node's own records hold."""

from __future__ import annotations

import math

from rescind.contracts import Member, MemberStatus, Round, RoundState, Settings
from rescind.node import tasks
from rescind.node.adopting import adopted
from rescind.node.facts import RoundFacts
from rescind.node.session import Session
from rescind.node.state import RoundView, View
from rescind.node.watch import due_moves, watch
from rescind.withdrawals import Erasing

LAST_QUARTER = 4
"""The last quarter of a phase is left for what a node does without the aggregator."""


def look(session: Session, erasing: Erasing | None = None) -> View:
    """Read the chain at one block, and the journal.

    Args:
        session: The node's session.
        erasing: Knows what closed withdrawals leave to erase; without it nothing is.
    """
    consortium = session.consortium
    with consortium.chain.at_one_block():
        now = consortium.chain.now()
        member = consortium.member(session.me)
        withdrawals = consortium.withdrawals()
        watched = watch(session, withdrawals, now)
        members = len(consortium.organizations())
        moves = list(due_moves(watched))
        current = _look_at_round(session, watched.round) if watched.round else None
        latest = consortium.latest_model_id()
        return View(
            status=member.status,
            may_contribute=consortium.may_contribute(session.me),
            reclaimable=_reclaimable(session, member, now),
            latest_model=latest,
            held=_held(session, latest, current.parent_model if current else 0),
            unavailable=session.unavailable.now(),
            now=now,
            round=current,
            unsettled=_unsettled(session, current) if current else 0,
            task=tasks.next_task(session, withdrawals, now),
            holds_out=tasks.holds_out(session, withdrawals),
            erasure=erasing is not None and erasing.due(withdrawals),
            due=session.turns.choose(moves, now, member.number, members),
        )


def _look_at_round(session: Session, current: Round) -> RoundView:
    consortium = session.consortium
    facts = RoundFacts.load(session.journal, current.id)
    return RoundView(
        round_id=current.id,
        state=current.state,
        parent_model=current.parent_model,
        deadline=current.deadline,
        last_call=current.deadline - _spare_seconds(session, current),
        transfer_slice=consortium.settings().reveal_seconds // LAST_QUARTER,
        answer=consortium.answers(current.id).of(session.me),
        decided=facts.decision is not None,
        takes_part=facts.action.takes_part,
        trained=facts.update is not None,
        submitted=facts.submitted,
        upload_paused=current.id in session.paused_uploads.now(),
    )


def _held(session: Session, *models: int) -> frozenset[int]:
    """Return those of some models whose files the node has; the base model needs none."""
    return frozenset({0, *(each for each in models if each and adopted(session, each))})


def _phase_seconds(settings: Settings, current: Round) -> int:
    return settings.commit_seconds if current.state is RoundState.OPEN else settings.reveal_seconds


def _spare_seconds(session: Session, current: Round) -> int:
    """Return the end of a phase that is left for what a node does without the aggregator.

    A quarter, or where the node looks rarely, two of its looks, up to half.
    """
    phase = _phase_seconds(session.consortium.settings(), current)
    looks = math.ceil(2 * session.config.node.poll_seconds)
    return max(phase // LAST_QUARTER, min(phase // 2, looks))


def _reclaimable(session: Session, member: Member, now: int) -> bool:
    """Return whether the bond, a reward or a refund of a member that left can be paid out."""
    if member.status not in (MemberStatus.WITHDRAWN, MemberStatus.LEFT):
        return False
    consortium = session.consortium
    if member.bond and now >= member.exit_at:
        return True
    return bool(consortium.replay_refund(session.me) or consortium.claimable_rounds(session.me))


def _unsettled(session: Session, current: RoundView) -> int:
    """Return the earliest round that is over, was decided on, and is not settled; 0 for none."""
    for facts in RoundFacts.all(session.journal):
        over = facts.round_id < current.round_id or (
            facts.round_id == current.round_id and current.state.over
        )
        if over and facts.decision is not None and not facts.settled:
            return facts.round_id
    return 0
