import dataclasses

import pytest

from rescind.aggregator import Plan, Standing, Step, View, plan
from rescind.contracts import RoundState

IDLE = View(now=50, active_members=3, minimum_members=3, finalized=0, target=2, deadline=100)
OPEN = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.OPEN)
COMMITTED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.COMMITTED)
REVEALED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.REVEALED)
JUDGED = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.JUDGED)
FINAL = dataclasses.replace(IDLE, round_id=1, round_state=RoundState.FINAL)


@pytest.mark.parametrize(
    ("view", "changes", "expected"),
    [
        (IDLE, {}, Plan(Step.OPEN)),
        (IDLE, {"bond_due": True, "bonded": False}, Plan(Step.POST_BOND)),
        (IDLE, {"bonded": False}, Plan(Step.WAIT)),
        (IDLE, {"active_members": 2}, Plan(Step.WAIT)),
        (IDLE, {"finalized": 2}, Plan(Step.WAIT)),
        (IDLE, {"rounds_left": False}, Plan(Step.WAIT)),
        (IDLE, {"stale": True}, Plan(Step.WAIT)),
        (IDLE, {"awaited": True}, Plan(Step.WAIT)),
        (IDLE, {"round_id": 1, "round_state": RoundState.ABANDONED}, Plan(Step.OPEN)),
        (FINAL, {"orphaned": True}, Plan(Step.OPEN)),
        (FINAL, {"unbuilt": (7, 8)}, Plan(Step.BUILD, model_id=7)),
        (FINAL, {"unpublished": (7,)}, Plan(Step.PUBLISH, model_id=7)),
        (FINAL, {"unbuilt": (8,), "unpublished": (7,)}, Plan(Step.BUILD, model_id=8)),
        (FINAL, {"signed_round": 1}, Plan(Step.ATTEST_ROUND, round_id=1)),
        (FINAL, {"signed_round": 1, "unpublished": (7,)}, Plan(Step.PUBLISH, model_id=7)),
        (FINAL, {"piece_due": True, "unbuilt": (7,)}, Plan(Step.SEND_PIECE, round_id=1)),
        (OPEN, {}, Plan(Step.WAIT, round_id=1)),
        (OPEN, {"all_answered": True}, Plan(Step.CLOSE_COMMITS, round_id=1)),
        (OPEN, {"now": 101}, Plan(Step.CLOSE_COMMITS, round_id=1)),
        (OPEN, {"orphaned": True}, Plan(Step.ABANDON, round_id=1)),
        (OPEN, {"piece_due": True, "now": 101}, Plan(Step.SEND_PIECE, round_id=1)),
        (COMMITTED, {}, Plan(Step.WAIT, round_id=1)),
        (COMMITTED, {"all_revealed": True}, Plan(Step.CLOSE_REVEALS, round_id=1)),
        (COMMITTED, {"now": 101}, Plan(Step.CLOSE_REVEALS, round_id=1)),
        (REVEALED, {}, Plan(Step.JUDGE, round_id=1)),
        (REVEALED, {"piece_due": True}, Plan(Step.JUDGE, round_id=1)),
        (REVEALED, {"now": 101}, Plan(Step.ABANDON, round_id=1)),
        (REVEALED, {"orphaned": True}, Plan(Step.ABANDON, round_id=1)),
        (REVEALED, {"appointed": False}, Plan(Step.WAIT, round_id=1)),
        (REVEALED, {"appointed": False, "now": 101}, Plan(Step.ABANDON, round_id=1)),
        (FINAL, {"appointed": False}, Plan(Step.WAIT, round_id=1)),
        (OPEN, {"appointed": False, "now": 101}, Plan(Step.CLOSE_COMMITS, round_id=1)),
        (JUDGED, {}, Plan(Step.WAIT, round_id=1)),
        (JUDGED, {"piece_due": True}, Plan(Step.SEND_PIECE, round_id=1)),
        (JUDGED, {"orphaned": True, "piece_due": True}, Plan(Step.ABANDON, round_id=1)),
    ],
)
def test_the_planner_picks_the_next_step(
    view: View, changes: dict[str, object], expected: Plan
) -> None:
    assert plan(dataclasses.replace(view, **changes)) == expected


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing(done=(3,), late=(4,)), Plan(Step.CLOSE_WITHDRAWAL, withdrawal_id=3)),
        (Standing(attested=(4, 5)), Plan(Step.ATTEST, withdrawal_id=4)),
        (Standing(unwritten=(4,)), Plan(Step.WRITE_EVIDENCE, withdrawal_id=4)),
        (Standing(replayed=(4,)), Plan(Step.FINISH_REPLAY, withdrawal_id=4)),
        (Standing(late=(4,)), Plan(Step.ESCALATE, withdrawal_id=4)),
        (Standing(advance_due=True, replay_pending=True), Plan(Step.ADVANCE_REPLAY)),
        (Standing(replay_due=True, replay_pending=True), Plan(Step.START_REPLAY)),
        (Standing(replay_pending=True), Plan(Step.WAIT)),
        (Standing(), Plan(Step.OPEN)),
    ],
)
def test_withdrawals_and_replays_come_before_the_next_round(
    standing: Standing, expected: Plan
) -> None:
    assert plan(dataclasses.replace(IDLE, standing=standing)) == expected


def test_a_withdrawal_is_moved_on_while_a_round_waits_for_its_members() -> None:
    view = dataclasses.replace(OPEN, standing=Standing(done=(3,)))
    assert plan(view) == Plan(Step.CLOSE_WITHDRAWAL, withdrawal_id=3)


def test_the_successor_of_a_stale_model_is_folded_before_its_withdrawal_is_closed() -> None:
    view = dataclasses.replace(OPEN, piece_due=True, standing=Standing(done=(3,)))
    assert plan(view) == Plan(Step.SEND_PIECE, round_id=1)
