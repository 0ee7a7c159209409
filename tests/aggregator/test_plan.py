import dataclasses

import pytest

from rescind.aggregator import (
    ClaimState,
    Plan,
    Step,
    View,
    plan,
)
from rescind.contracts import RoundState

IDLE = View(
    now=50,
    active_members=3,
    minimum_members=3,
    finalized=0,
    target=2,
    commit_deadline=100,
    reveal_deadline=200,
    finalize_deadline=300,
)
OPEN = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.OPEN)
COMMITTED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.COMMITTED)
REVEALED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.REVEALED)
AGGREGATED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.AGGREGATED)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (IDLE, {}, Plan(Step.OPEN)),
        (IDLE, {"bond_due": True, "bonded": False}, Plan(Step.POST_BOND)),
        (IDLE, {"bonded": False}, Plan(Step.WAIT)),
        (IDLE, {"active_members": 2}, Plan(Step.WAIT)),
        (IDLE, {"finalized": 2}, Plan(Step.WAIT)),
        (IDLE, {"round_id": 1, "round_state": RoundState.ABANDONED}, Plan(Step.OPEN)),
        (IDLE, {"requested": (4, 5)}, Plan(Step.CARRY_OUT, withdrawal_id=4)),
        (
            IDLE,
            {"requested": (4,), "carried_out": (3,)},
            Plan(Step.CLOSE_WITHDRAWAL, withdrawal_id=3),
        ),
        (IDLE, {"unwritten": (4,)}, Plan(Step.WRITE_EVIDENCE, withdrawal_id=4)),
        (IDLE, {"unwritten": (4,), "requested": (5,)}, Plan(Step.CARRY_OUT, withdrawal_id=5)),
        (IDLE, {"holds": True}, Plan(Step.WAIT)),
        (OPEN, {"holds": True, "all_answered": True}, Plan(Step.CLOSE_COMMITS, 1)),
        (OPEN, {}, Plan(Step.WAIT, 1)),
        (OPEN, {"all_answered": True}, Plan(Step.CLOSE_COMMITS, 1)),
        (OPEN, {"now": 101}, Plan(Step.CLOSE_COMMITS, 1)),
        (OPEN, {"claim": ClaimState.UNPROVEN}, Plan(Step.PROVE, 1)),
        (OPEN, {"claim": ClaimState.IN_WINDOW, "now": 101}, Plan(Step.CLOSE_COMMITS, 1)),
        (COMMITTED, {}, Plan(Step.WAIT, 1)),
        (COMMITTED, {"all_revealed": True}, Plan(Step.CLOSE_REVEALS, 1)),
        (COMMITTED, {"now": 201}, Plan(Step.CLOSE_REVEALS, 1)),
        (REVEALED, {}, Plan(Step.AGGREGATE, 1)),
        (REVEALED, {"claim": ClaimState.IN_WINDOW}, Plan(Step.WAIT, 1)),
        (REVEALED, {"now": 301}, Plan(Step.ABANDON, 1)),
        (REVEALED, {"requested": (1,)}, Plan(Step.CARRY_OUT, withdrawal_id=1)),
        (AGGREGATED, {"claim": ClaimState.UNPROVEN}, Plan(Step.PROVE, 1)),
        (AGGREGATED, {"claim": ClaimState.IN_WINDOW}, Plan(Step.WAIT, 1)),
        (AGGREGATED, {"claim": ClaimState.UNCHALLENGED}, Plan(Step.SETTLE, 1)),
        (AGGREGATED, {"claim": ClaimState.UNPROVEN, "requested": (1,)}, Plan(Step.PROVE, 1)),
    ],
)
def test_the_planner_picks_the_next_step(
    view: View, changes: dict[str, object], expected: Plan
) -> None:
    assert plan(dataclasses.replace(view, **changes)) == expected
