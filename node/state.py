"""What a node does next: a pure function of what the chain and its own records say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import AnswerState, MemberStatus, RoundState


class Step(Enum):
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
    """`round_id` or `model_id` is set where the step is about one."""

    step: Step
    round_id: int = 0
    model_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class Task:
    """What a withdrawal asks of the node next: to record that it was asked for or `closed`, to bring
    the delta of a round (0: a counter-delta) further, or to say that it is `complete`."""

    withdrawal_id: int
    round_id: int = 0
    recorded: bool = True
    closed: bool = False
    complete: bool = False
    counter: bool = False
    made: bool = False
    offered: bool = False


@dataclass(frozen=True)
class View:
    """`unsettled`: a round that is over and was decided on, not yet settled; 0 for none.

    `parent_model`: the model that the current round starts from; `held`: models whose adapters
    were downloaded and checked (0, the base model, always is). `reclaimable`: bond, reward or
    compensation can be taken out. `overdue`: a withdrawal to enforce; 0 for none. `late`: the round
    is past its deadline and the aggregator does not move it on. `unchecked_claim`: a sum was claimed
    that the chain does not add up, and this node has not yet. `task`: what a withdrawal asks next.
    `holds_out`: one takes part in no round, because a data subject's withdrawal is open.
    """

    status: MemberStatus
    reclaimable: bool
    latest_model: int
    held: frozenset[int]
    round_id: int = 0
    round_state: RoundState = RoundState.NONE
    parent_model: int = 0
    commit_deadline: int = 0
    reveal_deadline: int = 0
    now: int = 0
    answer: AnswerState = AnswerState.NONE
    decided: bool = False
    takes_part: bool = False
    trained: bool = False
    submitted: bool = False
    unsettled: int = 0
    task: Task | None = None
    holds_out: bool = False
    overdue: int = 0
    late: bool = False
    unchecked_claim: bool = False


def plan(view: View) -> Plan:
    if view.status is MemberStatus.ADMITTED:
        return Plan(Step.JOIN)
    if view.status is MemberStatus.NONE:
        return Plan(Step.WAIT)
    if view.overdue:
        return Plan(Step.ENFORCE_WITHDRAWAL, withdrawal_id=view.overdue)
    if view.unchecked_claim:
        return Plan(Step.CHECK_CLAIM, view.round_id)
    if view.late:
        return Plan(Step.ENFORCE_ROUND, view.round_id)
    if view.status is not MemberStatus.ACTIVE:
        return _without_rounds(view)
    if view.latest_model not in view.held:
        return Plan(Step.ADOPT, model_id=view.latest_model)
    if view.unsettled:
        return Plan(Step.SETTLE, view.unsettled)
    if view.round_state is RoundState.OPEN and view.answer is AnswerState.NONE:
        step = _answer(view)
    elif view.round_state is RoundState.COMMITTED and view.answer is AnswerState.COMMITTED:
        step = _open_commitment(view)
    else:
        step = Plan(Step.WAIT)
    return _on_withdrawal(view.task) if step.step is Step.WAIT and view.task else step


def _answer(view: View) -> Plan:
    if view.now > view.commit_deadline:
        return Plan(Step.WAIT)
    if view.holds_out:
        return Plan(Step.SIT_OUT, view.round_id)
    if not view.decided:
        return Plan(Step.DECIDE, view.round_id)
    if not view.takes_part:
        return Plan(Step.SIT_OUT, view.round_id)
    if view.parent_model not in view.held:
        return Plan(Step.ADOPT, model_id=view.parent_model)
    return Plan(Step.COMMIT if view.trained else Step.TRAIN, view.round_id)


def _open_commitment(view: View) -> Plan:
    if view.now > view.reveal_deadline or not view.trained:
        return Plan(Step.WAIT)
    return Plan(Step.REVEAL if view.submitted else Step.UPLOAD, view.round_id)


def _without_rounds(view: View) -> Plan:
    if view.task:
        return _on_withdrawal(view.task)
    return Plan(Step.RECLAIM if view.reclaimable else Step.WAIT)


def _on_withdrawal(task: Task) -> Plan:
    if not task.recorded:
        return Plan(Step.RECORD_WITHDRAWAL, withdrawal_id=task.withdrawal_id)
    if task.closed:
        return Plan(Step.RECORD_CLOSED, withdrawal_id=task.withdrawal_id)
    if task.complete:
        return Plan(Step.READY, withdrawal_id=task.withdrawal_id)
    if not task.made:
        step = Step.COUNTER_TRAIN if task.counter else Step.RETRAIN
    else:
        step = Step.DEPOSIT if task.offered else Step.OFFER
    return Plan(step, task.round_id, withdrawal_id=task.withdrawal_id)
