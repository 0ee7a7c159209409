import dataclasses
from typing import Any

import pytest

from rescind.contracts import AnswerState, MemberStatus, RoundState
from rescind.node import (
    Plan,
    RoundView,
    Step,
    Task,
    View,
    plan,
)
from rescind.node.state import meanwhile, transfer_seconds
from rescind.node.turns import Due, Move

IDLE = View(
    status=MemberStatus.ACTIVE, reclaimable=False, latest_model=0, held=frozenset({0}), now=50
)
OPEN = dataclasses.replace(IDLE, round=RoundView(3, RoundState.OPEN, deadline=100, last_call=75))
COMMITTED = dataclasses.replace(
    IDLE,
    round=RoundView(
        3,
        RoundState.COMMITTED,
        deadline=100,
        last_call=75,
        answer=AnswerState.COMMITTED,
        decided=True,
        takes_part=True,
        trained=True,
    ),
)
PLEDGED = dataclasses.replace(
    IDLE,
    round=RoundView(
        3,
        RoundState.OPEN,
        deadline=100,
        last_call=75,
        answer=AnswerState.COMMITTED,
        decided=True,
        takes_part=True,
        trained=True,
    ),
)
WITHOUT_PARENT = dataclasses.replace(
    IDLE,
    latest_model=1,
    round=RoundView(
        3,
        RoundState.OPEN,
        parent_model=1,
        deadline=100,
        last_call=75,
        decided=True,
        takes_part=True,
    ),
)
DUE = Due(Move.ESCALATE, 2)
ROUND_FIELDS = {field.name for field in dataclasses.fields(RoundView)}


def changed(view: View, changes: dict[str, Any]) -> View:
    """Change fields of a view and of its round."""
    of_round = {name: changes[name] for name in changes if name in ROUND_FIELDS}
    of_view = {name: changes[name] for name in changes if name not in ROUND_FIELDS}
    if of_round:
        assert view.round is not None
        of_view["round"] = dataclasses.replace(view.round, **of_round)
    return dataclasses.replace(view, **of_view)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (IDLE, {}, Plan(Step.WAIT)),
        (IDLE, {"status": MemberStatus.ADMITTED}, Plan(Step.JOIN)),
        (IDLE, {"status": MemberStatus.NONE}, Plan(Step.WAIT)),
        (IDLE, {"latest_model": 2}, Plan(Step.ADOPT, model_id=2)),
        (IDLE, {"unsettled": 1}, Plan(Step.SETTLE, 1)),
        (IDLE, {"unsettled": 1, "latest_model": 1}, Plan(Step.ADOPT, model_id=1)),
        (OPEN, {}, Plan(Step.DECIDE, 3)),
        (OPEN, {"decided": True}, Plan(Step.SIT_OUT, 3)),
        (OPEN, {"decided": True, "takes_part": True}, Plan(Step.TRAIN, 3)),
        (OPEN, {"decided": True, "takes_part": True, "trained": True}, Plan(Step.COMMIT, 3)),
        (
            OPEN,
            {"decided": True, "takes_part": True, "parent_model": 1},
            Plan(Step.ADOPT, model_id=1),
        ),
        (OPEN, {"now": 101}, Plan(Step.WAIT)),
        (OPEN, {"answer": AnswerState.COMMITTED}, Plan(Step.WAIT)),
        (COMMITTED, {}, Plan(Step.UPLOAD, 3)),
        (COMMITTED, {"submitted": True}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"submitted": True, "answer": AnswerState.REVEALED}, Plan(Step.WAIT)),
        (COMMITTED, {"answer": AnswerState.REVEALED}, Plan(Step.UPLOAD, 3)),
        (COMMITTED, {"now": 75}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"upload_paused": True}, Plan(Step.WAIT)),
        (COMMITTED, {"upload_paused": True, "now": 75}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"upload_paused": True, "submitted": True}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"upload_paused": True, "task": Task(4, 2)}, Plan(Step.WAIT)),
        (COMMITTED, {"upload_paused": True, "answer": AnswerState.REVEALED}, Plan(Step.WAIT)),
        (COMMITTED, {"now": 75, "latest_model": 2}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"now": 75, "due": DUE}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"due": DUE}, Plan(Step.MOVE_ON, move=Move.ESCALATE, number=2)),
        (COMMITTED, {"now": 101}, Plan(Step.WAIT)),
        (COMMITTED, {"trained": False}, Plan(Step.WAIT)),
        (
            OPEN,
            {"status": MemberStatus.WITHDRAWING, "task": Task(4, recorded=False)},
            Plan(Step.RECORD_WITHDRAWAL, offer_id=4),
        ),
        (OPEN, {"status": MemberStatus.WITHDRAWING}, Plan(Step.WAIT)),
        (IDLE, {"status": MemberStatus.WITHDRAWN, "reclaimable": True}, Plan(Step.RECLAIM)),
        (IDLE, {"status": MemberStatus.WITHDRAWN}, Plan(Step.WAIT)),
        (
            IDLE,
            {"status": MemberStatus.WITHDRAWN, "task": Task(4, closed=True), "reclaimable": True},
            Plan(Step.RECORD_CLOSED, offer_id=4),
        ),
        (IDLE, {"task": Task(4, 2)}, Plan(Step.RETRAIN, 2, offer_id=4)),
        (IDLE, {"task": Task(4, 0, counter=True)}, Plan(Step.COUNTER_TRAIN, offer_id=4)),
        (IDLE, {"task": Task(4, 2, trained=True)}, Plan(Step.OFFER, 2, offer_id=4)),
        (IDLE, {"task": Task(4, 2, trained=True, offered=True)}, Plan(Step.DEPOSIT, 2, 0, 4)),
        (IDLE, {"task": Task(4, complete=True)}, Plan(Step.READY, offer_id=4)),
        (OPEN, {"task": Task(4, 2)}, Plan(Step.DECIDE, 3)),
        (OPEN, {"task": Task(4, 2), "holds_out": True}, Plan(Step.SIT_OUT, 3)),
        (OPEN, {"holds_out": True, "decided": True, "trained": True}, Plan(Step.SIT_OUT, 3)),
        (COMMITTED, {"task": Task(4, 2), "holds_out": True}, Plan(Step.UPLOAD, 3)),
        (IDLE, {"task": Task(4, 2), "latest_model": 2}, Plan(Step.ADOPT, model_id=2)),
        (PLEDGED, {"task": Task(4, 2)}, Plan(Step.WAIT)),
        (PLEDGED, {"task": Task(4, 0, counter=True)}, Plan(Step.WAIT)),
        (PLEDGED, {"task": Task(4, 2), "erasure": True}, Plan(Step.ERASE)),
        (PLEDGED, {"unsettled": 1}, Plan(Step.WAIT)),
        (PLEDGED, {"task": Task(4, recorded=False)}, Plan(Step.RECORD_WITHDRAWAL, offer_id=4)),
        (PLEDGED, {"task": Task(4, 2, trained=True)}, Plan(Step.OFFER, 2, offer_id=4)),
        (PLEDGED, {"task": Task(4, 2), "trained": False}, Plan(Step.RETRAIN, 2, offer_id=4)),
        (PLEDGED, {"task": Task(4, 2), "state": RoundState.JUDGED}, Plan(Step.RETRAIN, 2, 0, 4)),
        (COMMITTED, {"unsettled": 1}, Plan(Step.UPLOAD, 3)),
        (IDLE, {"status": MemberStatus.LEFT, "reclaimable": True}, Plan(Step.RECLAIM)),
        (WITHOUT_PARENT, {}, Plan(Step.ADOPT, model_id=1)),
        (WITHOUT_PARENT, {"unavailable": frozenset({1})}, Plan(Step.WAIT)),
        (WITHOUT_PARENT, {"now": 75}, Plan(Step.REPORT_UNAVAILABLE, 3)),
        (WITHOUT_PARENT, {"now": 75, "takes_part": False}, Plan(Step.ADOPT, model_id=1)),
        (
            WITHOUT_PARENT,
            {"now": 75, "takes_part": False, "unavailable": frozenset({1})},
            Plan(Step.SIT_OUT, 3),
        ),
        (WITHOUT_PARENT, {"now": 75, "answer": AnswerState.UNAVAILABLE}, Plan(Step.ADOPT, 0, 1)),
        (OPEN, {"may_contribute": False}, Plan(Step.WAIT)),
        (IDLE, {"latest_model": 1, "unavailable": frozenset({1}), "unsettled": 1}, Plan(Step.WAIT)),
        (IDLE, {"task": Task(4, paid=True)}, Plan(Step.CLAIM_REPLAY, offer_id=4)),
        (OPEN, {"due": DUE}, Plan(Step.MOVE_ON, move=Move.ESCALATE, number=2)),
        (
            OPEN,
            {"due": DUE, "status": MemberStatus.WITHDRAWING},
            Plan(Step.MOVE_ON, move=Move.ESCALATE, number=2),
        ),
        (IDLE, {"due": DUE, "status": MemberStatus.LEFT}, Plan(Step.WAIT)),
    ],
)
def test_the_next_step(view: View, changes: dict[str, Any], expected: Plan) -> None:
    assert plan(changed(view, changes)) == expected


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (IDLE, {"task": Task(4, 2), "unsettled": 1}, Plan(Step.WAIT)),
        (OPEN, {"task": Task(4, 2), "holds_out": True}, Plan(Step.SIT_OUT, 3)),
        (OPEN, {"task": Task(4, 2), "latest_model": 2, "due": DUE}, Plan(Step.DECIDE, 3)),
        (OPEN, {"status": MemberStatus.WITHDRAWING}, Plan(Step.WAIT)),
        (PLEDGED, {"task": Task(4, 2)}, Plan(Step.WAIT)),
        (COMMITTED, {"task": Task(4, 2), "now": 75}, Plan(Step.REVEAL, 3)),
        (COMMITTED, {"task": Task(4, 2)}, Plan(Step.UPLOAD, 3)),
    ],
)
def test_what_a_round_needs_in_the_middle_of_a_long_training(
    view: View, changes: dict[str, Any], expected: Plan
) -> None:
    assert meanwhile(changed(view, changes)) == expected


@pytest.mark.parametrize(
    ("view", "changes", "seconds"),
    [
        (IDLE, {}, None),
        (OPEN, {}, 50.0),
        (WITHOUT_PARENT, {}, 25.0),
        (WITHOUT_PARENT, {"now": 80}, 0.0),
        (OPEN, {"answer": AnswerState.COMMITTED, "transfer_slice": 20}, 20.0),
        (OPEN, {"answer": AnswerState.SAT_OUT, "transfer_slice": 20}, 20.0),
        (OPEN, {"state": RoundState.FINAL, "transfer_slice": 20}, 20.0),
        (COMMITTED, {}, 25.0),
        (COMMITTED, {"now": 80}, 0.0),
        (COMMITTED, {"answer": AnswerState.REVEALED, "transfer_slice": 20}, 20.0),
        (COMMITTED, {"status": MemberStatus.WITHDRAWING}, None),
    ],
)
def test_transfers_end_in_time_for_the_answer_and_the_reveal(
    view: View, changes: dict[str, Any], seconds: float | None
) -> None:
    assert transfer_seconds(changed(view, changes)) == seconds
