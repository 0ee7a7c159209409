"""The planner of a node: a pure function from what chain and journal hold to the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import AnswerState, MemberStatus, RoundState


class Step(Enum):
    """A step of the node's daemon."""

    WAIT = "wait"
    JOIN = "join"
    ADOPT = "adopt"
    DECIDE = "decide"
    SIT_OUT = "sit-out"
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
    RECLAIM = "reclaim"
    CHECK_CLAIM = "check-claim"
    ENFORCE_WITHDRAWAL = "enforce-withdrawal"
    ENFORCE_ROUND = "enforce-round"


@dataclass(frozen=True)
class Plan:
    """The next step, and the round, model or withdrawal that it is about; 0 for none."""

    step: Step
    round_id: int = 0
    model_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class Task:
    """The next thing that a withdrawal needs from the node.

    Attributes:
        withdrawal_id: The withdrawal.
        round_id: The round whose delta is needed; 0 for a counter-delta.
        recorded: Whether the ledger has the request; if not, record it.
        closed: Record that the withdrawal is closed.
        complete: Every delta is offered and deposited; tell the chain.
        counter: A counter-delta is needed, not a retrained one.
        trained: Whether the delta is trained.
        offered: Whether the delta is offered on chain.
    """

    withdrawal_id: int
    round_id: int = 0
    recorded: bool = True
    closed: bool = False
    complete: bool = False
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
        commit_deadline: Unix seconds, by the chain's clock.
        reveal_deadline: Unix seconds, by the chain's clock.
        answer: The node's answer on chain.
        decided: Whether the agent has decided.
        takes_part: Whether it decided to take part.
        trained: Whether the update is trained.
        submitted: Whether the aggregator has the update.
        late: Whether the aggregator has left the round past its deadline.
    """

    round_id: int
    state: RoundState
    parent_model: int = 0
    commit_deadline: int = 0
    reveal_deadline: int = 0
    answer: AnswerState = AnswerState.NONE
    decided: bool = False
    takes_part: bool = False
    trained: bool = False
    submitted: bool = False
    late: bool = False


@dataclass(frozen=True)
class View:
    """Everything that the planner decides from, read at one block.

    Attributes:
        status: The organization's status.
        reclaimable: Whether bond, reward or compensation can be paid out.
        latest_model: The newest model's number.
        held: Models whose adapters were downloaded and checked. 0, the base model, always is.
        now: Unix seconds, by the chain's clock.
        round: The current round; None before the first.
        unsettled: A round that is over, was decided on, and is not settled; 0 for none.
        task: What a withdrawal needs next.
        holds_out: Whether the node takes part in no round, because a withdrawal of one of its data
            subjects is open.
        overdue: A withdrawal to enforce; 0 for none.
        unchecked_claim: Whether a sum was claimed that the chain does not add up and that this node
            has not checked.
    """

    status: MemberStatus
    reclaimable: bool
    latest_model: int
    held: frozenset[int]
    now: int = 0
    round: RoundView | None = None
    unsettled: int = 0
    task: Task | None = None
    holds_out: bool = False
    overdue: int = 0
    unchecked_claim: bool = False


def plan(view: View) -> Plan:
    """Return the next step. Steps that protect the consortium come before the node's own."""
    current = view.round
    if view.status is MemberStatus.ADMITTED:
        return Plan(Step.JOIN)
    # The admission may be on chain but not yet under enough blocks.
    if view.status is MemberStatus.NONE:
        return Plan(Step.WAIT)
    if view.overdue:
        return Plan(Step.ENFORCE_WITHDRAWAL, withdrawal_id=view.overdue)
    if view.unchecked_claim:
        return Plan(Step.CHECK_CLAIM, current.round_id if current else 0)
    if current and current.late:
        return Plan(Step.ENFORCE_ROUND, current.round_id)
    if view.status is not MemberStatus.ACTIVE:
        return _without_rounds(view)
    # A final round's model is adopted before the round is settled: settling evaluates it.
    if view.latest_model not in view.held:
        return Plan(Step.ADOPT, model_id=view.latest_model)
    if view.unsettled:
        return Plan(Step.SETTLE, view.unsettled)
    # A withdrawal's task is done only while the current round needs nothing from this node.
    step = _in_round(view, current) if current else Plan(Step.WAIT)
    return _for_withdrawal(view.task) if step.step is Step.WAIT and view.task else step


def _in_round(view: View, current: RoundView) -> Plan:
    """Return the step in a round; wait while it is another party's turn."""
    if current.state is RoundState.OPEN and current.answer is AnswerState.NONE:
        return _answer(view, current)
    if current.state is RoundState.COMMITTED and current.answer is AnswerState.COMMITTED:
        return _open_commitment(view, current)
    return Plan(Step.WAIT)


def _answer(view: View, current: RoundView) -> Plan:
    """Return the step towards an answer to an open round: sit out, or train and commit."""
    # The contract would refuse a later answer.
    if view.now > current.commit_deadline:
        return Plan(Step.WAIT)
    if view.holds_out:
        return Plan(Step.SIT_OUT, current.round_id)
    if not current.decided:
        return Plan(Step.DECIDE, current.round_id)
    if not current.takes_part:
        return Plan(Step.SIT_OUT, current.round_id)
    if current.parent_model not in view.held:
        return Plan(Step.ADOPT, model_id=current.parent_model)
    return Plan(Step.COMMIT if current.trained else Step.TRAIN, current.round_id)


def _open_commitment(view: View, current: RoundView) -> Plan:
    """Return the step towards revealing a commitment: the aggregator gets the update first."""
    if view.now > current.reveal_deadline or not current.trained:
        return Plan(Step.WAIT)
    return Plan(Step.REVEAL if current.submitted else Step.UPLOAD, current.round_id)


def _without_rounds(view: View) -> Plan:
    """Return the step of a member that left or withdraws, which takes part in no round."""
    if view.task:
        return _for_withdrawal(view.task)
    return Plan(Step.RECLAIM if view.reclaimable else Step.WAIT)


def _for_withdrawal(task: Task) -> Plan:
    """Return the step of a withdrawal: record, train each delta, offer and deposit it, be ready."""
    if not task.recorded:
        return Plan(Step.RECORD_WITHDRAWAL, withdrawal_id=task.withdrawal_id)
    if task.closed:
        return Plan(Step.RECORD_CLOSED, withdrawal_id=task.withdrawal_id)
    if task.complete:
        return Plan(Step.READY, withdrawal_id=task.withdrawal_id)
    if not task.trained:
        step = Step.COUNTER_TRAIN if task.counter else Step.RETRAIN
    else:
        step = Step.DEPOSIT if task.offered else Step.OFFER
    return Plan(step, task.round_id, withdrawal_id=task.withdrawal_id)
