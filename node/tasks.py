"""The next task that open withdrawals set a node, from the chain and its own records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from rescind.contracts import (
    AnswerState,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.node.facts import OfferedDelta, WithdrawalFacts
from rescind.node.session import Session
from rescind.node.state import Task
from rescind.withdrawals import AmendedModel, amended_model, replay_start

_OPEN = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)


def next_task(session: Session, withdrawals: Sequence[Withdrawal]) -> Task | None:
    """Return the next task: of the node's own withdrawals first, then of others' replays.

    Args:
        session: The node's session.
        withdrawals: Every withdrawal, in order.
    """
    own = [w for w in withdrawals if w.organization == session.me]
    tasks = chain(
        _records(session, own), _preparation(session, own), _replays(session, withdrawals)
    )
    return next(tasks, None)


def holds_out(session: Session, withdrawals: Sequence[Withdrawal]) -> bool:
    """Return whether a withdrawal of one of the node's data subjects is open."""
    return any(w.organization == session.me and w.subject and w.state in _OPEN for w in withdrawals)


def rounds_to_prepare(session: Session, withdrawal: Withdrawal) -> list[int]:
    """Return the rounds whose deltas to register before the node is ready; 0: a counter-delta."""
    if withdrawal.method is ModelKind.COUNTER_TRAINING:
        return [0]
    consortium = session.consortium
    head = consortium.content(consortium.latest_model_id())
    rounds = sorted(t.round_id for t in head if t.round_id and t.organization == session.me)
    # In a shared layout later rounds start from others' replayed deltas, which are not there yet.
    first_only = withdrawal.method is ModelKind.REPLAY and consortium.layout() == "shared"
    return rounds[:1] if first_only else rounds


def _records(session: Session, own: Sequence[Withdrawal]) -> Iterator[Task]:
    for withdrawal in own:
        facts = WithdrawalFacts.load(session.journal, withdrawal.id)
        if not facts.recorded:
            yield Task(withdrawal.id, recorded=False)
        if withdrawal.state is WithdrawalState.CLOSED and not facts.closed:
            yield Task(withdrawal.id, closed=True)


def _preparation(session: Session, own: Sequence[Withdrawal]) -> Iterator[Task]:
    for withdrawal in own:
        given_up = WithdrawalFacts.load(session.journal, withdrawal.id).given_up
        preparing = withdrawal.state is WithdrawalState.PREPARING
        if not preparing or given_up or _in_flight(session):
            continue
        rounds = rounds_to_prepare(session, withdrawal)
        offers = session.consortium.offers()
        for round_id in rounds:
            task = _delta_task(session, withdrawal, round_id, offers)
            if task is not None:
                yield task
                return
        if rounds:
            yield Task(withdrawal.id, complete=True)


def _replays(session: Session, withdrawals: Sequence[Withdrawal]) -> Iterator[Task]:
    """Yield the task of the earliest replay that is requested and not carried out.

    It is another organization's, or the node's own for a data subject. Only the earliest is worked
    on, so that each replay starts from the result of the one before it.
    """
    consortium = session.consortium
    open_replays = [
        w
        for w in withdrawals
        if w.method is ModelKind.REPLAY
        and w.state is WithdrawalState.REQUESTED
        and not consortium.carried_out(w.id)
    ]
    if not open_replays or consortium.layout() != "shared":
        return
    replay = open_replays[0]
    begun = any(a.withdrawal_id == replay.id for a in consortium.amendments())
    if begun:
        return
    amended = amended_model(consortium, replay, consortium.latest_model_id())
    offers = consortium.offers()
    for term in amended.terms:
        if term.organization != session.me or not amended.change.must_replace(term, "shared"):
            continue
        task = _delta_task(session, replay, term.round_id, offers)
        if task is None:
            continue
        if task.trained or can_start(session, amended, term.round_id):
            yield task
        return


def can_start(session: Session, amended: AmendedModel, round_id: int) -> bool:
    """Return whether a replay can start with this round."""
    parent = session.consortium.round(round_id).parent_model
    return replay_start(amended, session.consortium.content(parent), round_id) is not None


def _delta_task(
    session: Session, withdrawal: Withdrawal, round_id: int, offers: Sequence[Offer]
) -> Task | None:
    """Return what a delta needs next; None if it is deposited, or came out unchanged."""
    delta = OfferedDelta.find(session.journal, withdrawal.id, round_id)
    if delta is not None and delta.unchanged:
        return None
    slot = (withdrawal.id, round_id, session.me)
    offered = any((o.withdrawal_id, o.round_id, o.organization) == slot for o in offers)
    deposited = round_id in WithdrawalFacts.load(session.journal, withdrawal.id).deposited
    if offered and deposited:
        return None
    return Task(
        withdrawal.id,
        round_id,
        counter=withdrawal.method is ModelKind.COUNTER_TRAINING,
        trained=delta is not None,
        offered=offered,
    )


def _in_flight(session: Session) -> bool:
    """Return whether an update of this node is on its way into a model."""
    consortium = session.consortium
    current = consortium.current_round_id()
    if not current or consortium.round(current).state.over:
        return False
    answer = consortium.answer(current, session.me).state
    return answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
