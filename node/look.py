"""The view of a node: what the chain, at one block, and the node's own records hold."""

from __future__ import annotations

from rescind.contracts import Claim, Member, MemberStatus
from rescind.node import tasks, watch
from rescind.node.facts import AdoptedModel, ClaimCheck, RoundFacts
from rescind.node.session import Session
from rescind.node.state import RoundView, View


def look(session: Session) -> View:
    """Read the chain at one block, and the journal."""
    consortium = session.consortium
    with consortium.chain.at_one_block():
        now, claim = consortium.chain.now(), consortium.claim()
        member = consortium.member(session.me)
        withdrawals = consortium.withdrawals()
        current = _look_at_round(session, claim, now)
        return View(
            status=member.status,
            reclaimable=_reclaimable(session, member, now),
            latest_model=consortium.latest_model_id(),
            held=AdoptedModel.ids(session.journal),
            now=now,
            round=current,
            unsettled=_unsettled(session, current) if current else 0,
            task=tasks.next_task(session, withdrawals),
            holds_out=tasks.holds_out(session, withdrawals),
            overdue=watch.overdue_withdrawal(consortium, withdrawals, now),
            unchecked_claim=_unchecked(session, claim, now),
        )


def _look_at_round(session: Session, claim: Claim | None, now: int) -> RoundView | None:
    consortium = session.consortium
    round_id = consortium.current_round_id()
    if not round_id:
        return None
    current = consortium.round(round_id)
    facts = RoundFacts.load(session.journal, round_id)
    return RoundView(
        round_id=round_id,
        state=current.state,
        parent_model=current.parent_model,
        commit_deadline=current.commit_deadline,
        reveal_deadline=current.reveal_deadline,
        answer=consortium.answer(round_id, session.me).state,
        decided=facts.decision is not None,
        takes_part=facts.action.takes_part,
        trained=facts.update is not None,
        submitted=facts.submitted,
        late=watch.is_late(current, claim, now),
    )


def _unchecked(session: Session, claim: Claim | None, now: int) -> bool:
    """Return whether a claimed sum can still be challenged and was not checked."""
    if claim is None or claim.must_prove or now > claim.deadline:
        return False
    return ClaimCheck.find(session.journal, claim.adapter_id, claim.digest_root) is None


def _reclaimable(session: Session, member: Member, now: int) -> bool:
    """Return whether compensation, bond or reward can be paid out."""
    if session.consortium.compensation(session.me):
        return True
    if member.status not in (MemberStatus.WITHDRAWN, MemberStatus.LEFT):
        return False
    bond_due = bool(member.bond) and now >= member.exit_at
    return bond_due or bool(session.consortium.pending_reward(session.me))


def _unsettled(session: Session, current: RoundView) -> int:
    """Return the earliest round that is over, was decided on, and is not settled; 0 for none."""
    for facts in RoundFacts.all(session.journal):
        over = facts.round_id < current.round_id or (
            facts.round_id == current.round_id and current.state.over
        )
        if over and facts.decision is not None and not facts.settled:
            return facts.round_id
    return 0
