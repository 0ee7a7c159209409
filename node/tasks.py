"""The next task that open withdrawals set a node, from the chain and its own records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from rescind.contracts import (
    REPLAY_OFFERS,
    AnswerState,
    Contribution,
    Withdrawal,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.node.session import Session
from rescind.node.state import Task
from rescind.node.withdrawal_facts import OfferedDelta, ReplayPaid, WithdrawalFacts


def next_task(session: Session, withdrawals: Sequence[Withdrawal], now: int) -> Task | None:
    """Return the next task: of the node's own withdrawals first, then of the running replay.

    Args:
        session: The node's session.
        withdrawals: Every withdrawal, in order.
        now: Unix seconds, by the chain's clock.
    """
    own = [w for w in withdrawals if w.organization == session.me]
    tasks = chain(
        _records(session, own),
        _preparation(session, own, now),
        _replay(session, now),
        _pay(session),
    )
    return next(tasks, None)


def holds_out(session: Session, withdrawals: Sequence[Withdrawal]) -> bool:
    """Return whether a withdrawal of one of the node's data subjects is being prepared."""
    return any(
        w.organization == session.me and w.subject and w.state is WithdrawalState.PREPARING
        for w in withdrawals
    )


def _records(session: Session, own: Sequence[Withdrawal]) -> Iterator[Task]:
    for withdrawal in own:
        facts = WithdrawalFacts.load(session.journal, withdrawal.id)
        if not facts.recorded:
            yield Task(withdrawal.id, recorded=False)
        if withdrawal.state is WithdrawalState.CLOSED and not facts.closed:
            yield Task(withdrawal.id, closed=True)


def _preparation(session: Session, own: Sequence[Withdrawal], now: int) -> Iterator[Task]:
    for withdrawal in own:
        given_up = WithdrawalFacts.load(session.journal, withdrawal.id).given_up
        preparing = withdrawal.state is WithdrawalState.PREPARING and now <= withdrawal.deadline
        if not preparing or given_up or _in_flight(session):
            continue
        if withdrawal.method is WithdrawalMethod.COUNTER_TRAINING:
            rounds = [0]
        else:
            rounds = own_rounds(session)
        offers = session.consortium.offers(withdrawal.id)
        yield _offer_task(session, withdrawal, rounds, offers) or Task(withdrawal.id, complete=True)


def own_rounds(session: Session) -> list[int]:
    """Return the rounds whose deltas of this node are in the newest model, ascending."""
    consortium = session.consortium
    head = consortium.content(consortium.latest_model_id())
    return sorted(e.round_id for e in head if e.round_id and e.organization == session.me)


def _offer_task(
    session: Session,
    withdrawal: Withdrawal,
    rounds: Sequence[int],
    offers: Sequence[Contribution],
) -> Task | None:
    """Return what the first round that is not done needs; None if all are."""
    chained = session.consortium.settings().chained
    replays = withdrawal.method is WithdrawalMethod.REPLAY
    any_offer = False
    for round_id in rounds:
        delta = OfferedDelta.find(session.journal, withdrawal.id, round_id)
        # A delta that came out unchanged is not offered. But a replay of blocks needs every round
        # after its first one, and a withdrawal that changes nothing is closed by its last delta.
        needed = any_offer and replays and not chained
        needed = needed or (round_id == rounds[-1] and not any_offer)
        if delta is not None and delta.unchanged and not needed:
            continue
        task = _delta_task(session, withdrawal.id, round_id, delta, offers)
        if task is not None:
            counter = withdrawal.method is WithdrawalMethod.COUNTER_TRAINING
            return Task(
                withdrawal.id, round_id, counter=counter, trained=task.trained, offered=task.offered
            )
        any_offer = True
        # Where rounds are chained, the replay itself trains the later ones again.
        if replays and chained:
            return None
    return None


def _replay(session: Session, now: int) -> Iterator[Task]:
    """Yield what the running replay waits for from this node."""
    consortium = session.consortium
    replay = consortium.current_replay()
    if replay is None or not replay.running or now > replay.deadline:
        return
    # The last offer of a round moves the replay on, and no sum can be built without its deltas.
    for fact in OfferedDelta.all(session.journal):
        if fact.offer_id == replay.id and fact.round_id < replay.round_id:
            offers = consortium.replayed(replay.id, fact.round_id)
            earlier = _delta_task(session, replay.id, fact.round_id, fact, offers)
            if earlier is not None and earlier.offered:
                yield earlier
    if session.me not in consortium.expected_replayers():
        return
    delta = OfferedDelta.find(session.journal, replay.id, replay.round_id)
    offers = consortium.replayed(replay.id, replay.round_id)
    task = _delta_task(session, replay.id, replay.round_id, delta, offers)
    if task is not None:
        yield task


def _pay(session: Session) -> Iterator[Task]:
    """Yield the task of taking the pay of a replay that is over."""
    own = {fact.offer_id for fact in OfferedDelta.all(session.journal)}
    for replay_id in sorted(own - ReplayPaid.ids(session.journal)):
        if replay_id >= REPLAY_OFFERS and not session.consortium.replay(replay_id).running:
            yield Task(replay_id, paid=True)


def _delta_task(
    session: Session,
    offer_id: int,
    round_id: int,
    delta: OfferedDelta | None,
    offers: Sequence[Contribution],
) -> Task | None:
    """Return what a delta needs next; None if it is offered and the aggregator has it."""
    offered = any((o.round_id, o.organization) == (round_id, session.me) for o in offers)
    if delta is not None and offered and delta.deposited:
        return None
    return Task(offer_id, round_id, trained=delta is not None, offered=offered)


def _in_flight(session: Session) -> bool:
    """Return whether an update of this node is on its way into a model."""
    consortium = session.consortium
    current = consortium.current_round_id()
    if not current or consortium.round(current).state.over:
        return False
    answer = consortium.answers(current).of(session.me)
    return answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
