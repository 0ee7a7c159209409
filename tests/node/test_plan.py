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

IDLE = View(
    status=MemberStatus.ACTIVE, reclaimable=False, latest_model=0, held=frozenset({0}), now=50
)
OPEN = dataclasses.replace(
    IDLE, round=RoundView(3, RoundState.OPEN, commit_deadline=100, reveal_deadline=200)
)
COMMITTED = dataclasses.replace(
    IDLE,
    round=RoundView(
        3,
        RoundState.COMMITTED,
        commit_deadline=100,
        reveal_deadline=200,
        answer=AnswerState.COMMITTED,
        decided=True,
        takes_part=True,
        trained=True,
    ),
)
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
        (COMMITTED, {"now": 201}, Plan(Step.WAIT)),
        (COMMITTED, {"trained": False}, Plan(Step.WAIT)),
        (
            OPEN,
            {"status": MemberStatus.WITHDRAWING, "task": Task(4, recorded=False)},
            Plan(Step.RECORD_WITHDRAWAL, withdrawal_id=4),
        ),
        (OPEN, {"status": MemberStatus.WITHDRAWING}, Plan(Step.WAIT)),
        (IDLE, {"status": MemberStatus.WITHDRAWN, "reclaimable": True}, Plan(Step.RECLAIM)),
        (IDLE, {"status": MemberStatus.WITHDRAWN}, Plan(Step.WAIT)),
        (
            IDLE,
            {"status": MemberStatus.WITHDRAWN, "task": Task(4, closed=True), "reclaimable": True},
            Plan(Step.RECORD_CLOSED, withdrawal_id=4),
        ),
        (IDLE, {"task": Task(4, 2)}, Plan(Step.RETRAIN, 2, withdrawal_id=4)),
        (IDLE, {"task": Task(4, 0, counter=True)}, Plan(Step.COUNTER_TRAIN, withdrawal_id=4)),
        (IDLE, {"task": Task(4, 2, trained=True)}, Plan(Step.OFFER, 2, withdrawal_id=4)),
        (IDLE, {"task": Task(4, 2, trained=True, offered=True)}, Plan(Step.DEPOSIT, 2, 0, 4)),
        (IDLE, {"task": Task(4, complete=True)}, Plan(Step.READY, withdrawal_id=4)),
        (OPEN, {"task": Task(4, 2)}, Plan(Step.DECIDE, 3)),
        (OPEN, {"task": Task(4, 2), "holds_out": True}, Plan(Step.SIT_OUT, 3)),
        (OPEN, {"holds_out": True, "decided": True, "trained": True}, Plan(Step.SIT_OUT, 3)),
        (COMMITTED, {"task": Task(4, 2), "holds_out": True}, Plan(Step.UPLOAD, 3)),
        (IDLE, {"task": Task(4, 2), "latest_model": 2}, Plan(Step.ADOPT, model_id=2)),
        (IDLE, {"status": MemberStatus.LEFT, "reclaimable": True}, Plan(Step.RECLAIM)),
        (OPEN, {"overdue": 2}, Plan(Step.ENFORCE_WITHDRAWAL, withdrawal_id=2)),
        (
            OPEN,
            {"overdue": 2, "status": MemberStatus.WITHDRAWING},
            Plan(Step.ENFORCE_WITHDRAWAL, withdrawal_id=2),
        ),
        (OPEN, {"unchecked_claim": True}, Plan(Step.CHECK_CLAIM, 3)),
        (COMMITTED, {"late": True}, Plan(Step.ENFORCE_ROUND, 3)),
    ],
)
def test_the_next_step(view: View, changes: dict[str, Any], expected: Plan) -> None:
    assert plan(changed(view, changes)) == expected
