"""What the open withdrawals ask of this node next, from the chain and its own records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rescind.contracts import (
    AnswerState,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.node.session import Session
from rescind.node.state import Task
from rescind.withdrawals import AmendedModel, amended_model, replay_start

_OPEN = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)


def next_task(session: Session, known: Sequence[Withdrawal]) -> Task | None:
    """One's own withdrawals first, then others' replays, each in their order; None for nothing."""
    mine = [w for w in known if w.organization == session.me]
    tasks = [*_records(session, mine), *_preparation(session, mine), *_replays(session, known)]
    return next(iter(tasks), None)


def holds_out(session: Session, known: Sequence[Withdrawal]) -> bool:
    """Whether one takes part in no round: a data subject's withdrawal of one's own is open."""
    return any(w.organization == session.me and w.subject and w.state in _OPEN for w in known)


def delta_key(withdrawal_id: int, round_id: int) -> str:
    """Where the journal keeps a delta that was made for a withdrawal."""
    return f"retrained/{withdrawal_id:06d}/{round_id:06d}"


def flag_key(withdrawal_id: int, what: str) -> str:
    return f"withdrawal/{withdrawal_id:06d}/{what}"


def rounds_to_prepare(session: Session, it: Withdrawal) -> list[int]:
    """For which rounds the organization registers deltas before it is ready; 0: a counter-delta."""
    if it.method is ModelKind.COUNTER_TRAINING:
        return [0]
    consortium = session.consortium
    head = consortium.content(consortium.latest_model_id())
    rounds = sorted(t.round_id for t in head if t.round_id and t.organization == session.me)
    # What comes after the first round starts from others' replayed deltas, where all share one adapter.
    first_only = it.method is ModelKind.REPLAY and consortium.layout() == "shared"
    return rounds[:1] if first_only else rounds


def _records(session: Session, mine: Sequence[Withdrawal]) -> Iterator[Task]:
    for it in mine:
        if not session.journal.get(flag_key(it.id, "recorded"), False):
            yield Task(it.id, recorded=False)
        closed = it.state is WithdrawalState.CLOSED
        if closed and not session.journal.get(flag_key(it.id, "closed"), False):
            yield Task(it.id, closed=True)


def _preparation(session: Session, mine: Sequence[Withdrawal]) -> Iterator[Task]:
    for it in mine:
        given_up = session.journal.get(flag_key(it.id, "given-up"), False)
        if it.state is not WithdrawalState.PREPARING or given_up or _in_flight(session):
            continue
        rounds = rounds_to_prepare(session, it)
        offers = session.consortium.offers()
        for round_id in rounds:
            task = _delta_task(session, it, round_id, offers)
            if task is not None:
                yield task
                return
        if rounds:
            yield Task(it.id, complete=True)


def _replays(session: Session, known: Sequence[Withdrawal]) -> Iterator[Task]:
    """Others' replays, and of one's own that of a data subject, once it is asked for: the first only,
    so that each starts from what the one before it came to."""
    consortium = session.consortium
    wanted = [
        w
        for w in known
        if w.method is ModelKind.REPLAY
        and w.state is WithdrawalState.REQUESTED
        and not consortium.carried_out(w.id)
    ]
    if not wanted or consortium.layout() != "shared":
        return
    it = wanted[0]
    begun = any(a.withdrawal_id == it.id for a in consortium.amendments())
    if begun:
        return
    amended = amended_model(consortium, it, consortium.latest_model_id())
    offers = consortium.offers()
    for term in amended.terms:
        if term.organization != session.me or not amended.change.must_replace(term, "shared"):
            continue
        task = _delta_task(session, it, term.round_id, offers)
        if task is None:
            continue
        if task.made or can_start(session, amended, term.round_id):
            yield task
        return


def can_start(session: Session, amended: AmendedModel, round_id: int) -> bool:
    parent = session.consortium.round(round_id).parent_model
    return replay_start(amended, session.consortium.content(parent), round_id) is not None


def _delta_task(
    session: Session, it: Withdrawal, round_id: int, offers: Sequence[Offer]
) -> Task | None:
    """What one delta still needs; None when it is handed in, or came out the same."""
    fact = session.journal.get(delta_key(it.id, round_id))
    if fact is not None and fact.get("unchanged", False):
        return None
    slot = (it.id, round_id, session.me)
    offered = any((o.withdrawal_id, o.round_id, o.organization) == slot for o in offers)
    deposited = session.journal.get(flag_key(it.id, f"deposited/{round_id:06d}"), False)
    if offered and deposited:
        return None
    return Task(
        it.id,
        round_id,
        counter=it.method is ModelKind.COUNTER_TRAINING,
        made=fact is not None,
        offered=offered,
    )


def _in_flight(session: Session) -> bool:
    """Whether an update of one's own is on its way into a model."""
    consortium = session.consortium
    current = consortium.current_round_id()
    if not current or consortium.round(current).state.over:
        return False
    answer = consortium.answer(current, session.me).state
    return answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
