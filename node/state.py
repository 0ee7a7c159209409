"""The planner of a node: a pure function from what chain and journal hold to the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import AnswerState, MemberStatus, RoundState
from rescind.node.turns import Due, Move


class Step(Enum):
    """A step of the node's daemon."""

    WAIT = "wait"
    JOIN = "join"
    ADOPT = "adopt"
    DECIDE = "decide"
    SIT_OUT = "sit-out"
    REPORT_UNAVAILABLE = "report-unavailable"
    TRAIN = "train"
    COMMIT = "commit"
    UPLOAD = "upload"
    REVEAL = "reveal"
    SETTLE = "settle"
    RECORD_WITHDRAWAL = "record-withdrawal"
    RETRAIN = "retrain"
    COUNTER_TRAIN = "counter-train"
    OFFER = "offer"
    DEPOSIT = "deposit"
    READY = "ready"
    RECORD_CLOSED = "record-closed"
    CLAIM_REPLAY = "claim-replay"
    ERASE = "erase"
    RECLAIM = "reclaim"
    MOVE_ON = "move-on"


LONG_STEPS = frozenset({Step.RETRAIN, Step.COUNTER_TRAIN, Step.SETTLE})
"""Steps that train or evaluate, for as long as a round's phase or longer."""


@dataclass(frozen=True)
class Plan:
    """The next step, and what it is about; 0 for none.

    Attributes:
        step: The step.
        round_id: The round.
        model_id: The model.
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        move: The move that anyone may send.
        number: What the move is about.
    """

    step: Step
    round_id: int = 0
    model_id: int = 0
    offer_id: int = 0
    move: Move | None = None
    number: int = 0


@dataclass(frozen=True)
class Task:
    """The next thing that a withdrawal or a replay needs from the node.

    Attributes:
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round whose delta is needed; 0 for a counter-delta.
        recorded: Whether the ledger has the request; if not, record it.
        closed: Record that the withdrawal is closed.
        complete: Every delta is offered and deposited; tell the chain.
        paid: Take the pay for a replay.
        counter: A counter-delta is needed, not a retrained one.
        trained: Whether the delta is trained.
        offered: Whether the delta is offered on chain.
    """

    offer_id: int
    round_id: int = 0
    recorded: bool = True
    closed: bool = False
    complete: bool = False
    paid: bool = False
    counter: bool = False
    trained: bool = False
    offered: bool = False


@dataclass(frozen=True)
class RoundView:
    """The current round, and what the node has done in it.

    Attributes:
        round_id: The round's number.
        state: The round's state.
        parent_model: The model that the round starts from.
        deadline: When the present state is late, in Unix seconds, by the chain's clock.
        last_call: From when on a node acts without the aggregator, in Unix seconds: it says that
            the parent model is missing, or reveals what it could not upload.
        transfer_slice: Seconds that a transfer may take while the reveal phase may begin.
        answer: The node's answer on chain.
        decided: Whether the agent has decided.
        takes_part: Whether it decided to take part.
        trained: Whether the update is trained.
        submitted: Whether the aggregator has the update.
        upload_paused: Whether the aggregator did not take the update a moment ago.
    """

    round_id: int
    state: RoundState
    parent_model: int = 0
    deadline: int = 0
    last_call: int = 0
    transfer_slice: int = 0
    answer: AnswerState = AnswerState.NONE
    decided: bool = False
    takes_part: bool = False
    trained: bool = False
    submitted: bool = False
    upload_paused: bool = False

    @property
    def owes_reveal(self) -> bool:
        """True if a penalty is due unless the node reveals in this phase."""
        return self.pledged and self.state is RoundState.COMMITTED

    @property
    def pledged(self) -> bool:
        """True from the node's commitment until its reveal, whose phase may begin at any time."""
        committed = self.answer is AnswerState.COMMITTED and self.trained
        return committed and self.state in (RoundState.OPEN, RoundState.COMMITTED)


@dataclass(frozen=True)
class View:
    """Everything that the planner decides from, read at one block.

    Attributes:
        status: The organization's status.
        may_contribute: Whether the contracts take an answer: active, bond whole, no penalty due.
        reclaimable: Whether bond, reward or refund can be paid out.
        latest_model: The newest model's number.
        held: The newest model and the round's parent, if their files were downloaded and checked.
            0, the base model, always is among them.
        unavailable: Models whose files could not be had a moment ago.
        now: Unix seconds, by the chain's clock.
        round: The current round; None before the first.
        unsettled: A round that is over, was decided on, and is not settled; 0 for none.
        task: What a withdrawal needs next.
        holds_out: Whether the node takes part in no round, because a withdrawal of one of its data
            subjects is being prepared.
        erasure: Whether files that a closed withdrawal took out of the models are still here.
        due: A move that anyone may send and that is this node's turn; None if there is none.
    """

    status: MemberStatus
    reclaimable: bool
    latest_model: int
    held: frozenset[int]
    may_contribute: bool = True
    unavailable: frozenset[int] = frozenset()
    now: int = 0
    round: RoundView | None = None
    unsettled: int = 0
    task: Task | None = None
    holds_out: bool = False
    erasure: bool = False
    due: Due | None = None


def plan(view: View) -> Plan:
    """Return the next step. Moves that unblock the consortium come before the node's own."""
    if view.status is MemberStatus.ADMITTED:
        return Plan(Step.JOIN)
    # The admission may be on chain but not yet under enough blocks.
    if view.status is MemberStatus.NONE:
        return Plan(Step.WAIT)
    active = view.status is MemberStatus.ACTIVE
    pledged = view.round is not None and view.round.pledged
    step = meanwhile(view)
    # What a penalty or the round's fate hangs on comes first: it is one transaction.
    if step.step in (Step.REVEAL, Step.REPORT_UNAVAILABLE):
        return step
    if view.due and view.status in (MemberStatus.ACTIVE, MemberStatus.WITHDRAWING):
        return Plan(Step.MOVE_ON, move=view.due.move, number=view.due.id)
    if not active:
        return _without_rounds(view)
    # A final round's model is adopted before the round is settled: settling evaluates it.
    if view.latest_model not in view.held:
        if view.latest_model not in view.unavailable:
            return Plan(Step.ADOPT, model_id=view.latest_model)
    elif view.unsettled and not pledged:
        return Plan(Step.SETTLE, view.unsettled)
    # A withdrawal's task is done only while the round needs nothing from this node, and a long one
    # would overrun the reveal phase. `meanwhile` is for rounds that open during a long task.
    if step.step is not Step.WAIT or (view.round and view.round.owes_reveal):
        return step
    task = _for_withdrawal(view.task) if view.task else None
    if task and not (pledged and task.step in LONG_STEPS):
        return task
    return Plan(Step.ERASE) if view.erasure else step


def meanwhile(view: View) -> Plan:
    """Return what the round needs from a node that is in the middle of a long step.

    Only the round counts: other steps wait for the end of the long one.
    """
    if view.round is None or view.status is not MemberStatus.ACTIVE:
        return Plan(Step.WAIT)
    return _in_round(view, view.round)


def transfer_seconds(view: View) -> float | None:
    """Return for how long a transfer may take the node's time; None for any time.

    A transfer that is cut goes on later where it ended, so that an aggregator that stalls one, or
    sends one byte at a time, cannot make a node miss its answer or its reveal.
    """
    current = view.round
    if current is None or view.status is not MemberStatus.ACTIVE:
        return None
    if current.owes_reveal:
        return float(max(current.last_call - view.now, 0))
    if current.state is RoundState.OPEN and current.answer is AnswerState.NONE:
        # From the last call on a node says that it could not have the parent.
        has_parent = current.parent_model in view.held
        end = current.deadline if has_parent else current.last_call
        return float(max(end - view.now, 0))
    # The reveal phase, or the next round, may begin at any time.
    return float(current.transfer_slice)


def _in_round(view: View, current: RoundView) -> Plan:
    """Return the step in a round; wait while it is another party's turn, or too late."""
    if view.now > current.deadline:
        return Plan(Step.WAIT)
    if current.state is RoundState.OPEN and current.answer is AnswerState.NONE:
        return _answer(view, current) if view.may_contribute else Plan(Step.WAIT)
    if current.state is RoundState.COMMITTED and current.trained:
        return _open_commitment(view, current)
    return Plan(Step.WAIT)


def _answer(view: View, current: RoundView) -> Plan:
    """Return the step towards an answer: sit out, train and commit, or name a missing parent."""
    if view.holds_out:
        return Plan(Step.SIT_OUT, current.round_id)
    if not current.decided:
        return Plan(Step.DECIDE, current.round_id)
    if not current.takes_part:
        return Plan(Step.SIT_OUT, current.round_id)
    if current.parent_model not in view.held:
        if view.now >= current.last_call:
            return Plan(Step.REPORT_UNAVAILABLE, current.round_id)
        if current.parent_model in view.unavailable:
            return Plan(Step.WAIT)
        return Plan(Step.ADOPT, model_id=current.parent_model)
    return Plan(Step.COMMIT if current.trained else Step.TRAIN, current.round_id)


def _open_commitment(view: View, current: RoundView) -> Plan:
    """Return the step towards revealing a commitment: the aggregator gets the update first."""
    upload = Plan(Step.WAIT) if current.upload_paused else Plan(Step.UPLOAD, current.round_id)
    if current.answer is AnswerState.COMMITTED:
        # A member that does not reveal pays a penalty, so an aggregator that is away, refuses the
        # update or stalls it must not stop the reveal.
        reveals = current.submitted or view.now >= current.last_call
        return Plan(Step.REVEAL, current.round_id) if reveals else upload
    late = current.answer is AnswerState.REVEALED and not current.submitted
    return upload if late else Plan(Step.WAIT)


def _without_rounds(view: View) -> Plan:
    """Return the step of a member that left or withdraws, which takes part in no round."""
    if view.task:
        return _for_withdrawal(view.task)
    if view.erasure:
        return Plan(Step.ERASE)
    return Plan(Step.RECLAIM if view.reclaimable else Step.WAIT)


def _for_withdrawal(task: Task) -> Plan:
    """Return the step of a withdrawal: record, train each delta, offer and deposit it, be ready."""
    if not task.recorded:
        return Plan(Step.RECORD_WITHDRAWAL, offer_id=task.offer_id)
    if task.closed:
        return Plan(Step.RECORD_CLOSED, offer_id=task.offer_id)
    if task.complete:
        return Plan(Step.READY, offer_id=task.offer_id)
    if task.paid:
        return Plan(Step.CLAIM_REPLAY, offer_id=task.offer_id)
    if not task.trained:
        step = Step.COUNTER_TRAIN if task.counter else Step.RETRAIN
    else:
        step = Step.DEPOSIT if task.offered else Step.OFFER
    return Plan(step, task.round_id, offer_id=task.offer_id)
