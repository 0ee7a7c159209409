"""Every late state has a move that anyone may send, and members take turns in sending it."""

from dataclasses import replace

import pytest

from rescind.contracts import (
    Replay,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.node.turns import GRACE_SECONDS, TURN_SECONDS, Due, Move, Turns, seconds_to_wait
from rescind.node.watch import Watched, WithdrawalWatch, due_moves

EARLY, DEADLINE, LATE = 90, 100, 101
ROUND = Round(3, RoundState.OPEN, False, 10, DEADLINE, 2, 0)
REPLAY = Replay(1 << 63, 1, 2, 1, DEADLINE, 0, (5,), running=True)
WITHDRAWAL = Withdrawal(
    id=5,
    organization="0xaa",
    state=WithdrawalState.PREPARING,
    method=WithdrawalMethod.REPLACEMENT,
    expelled=False,
    requested_at=10,
    amendment=0,
    deadline=DEADLINE,
    from_round=1,
    closed_model=0,
    subject="ab" * 32,
    evidence="",
)


def in_state(state: RoundState) -> Round:
    return replace(ROUND, state=state)


def withdrawal(state: WithdrawalState, **known: bool) -> tuple[WithdrawalWatch]:
    return (WithdrawalWatch(replace(WITHDRAWAL, state=state), **known),)


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        (Watched(EARLY), []),
        (Watched(EARLY, ROUND), []),
        (Watched(LATE, ROUND), [Due(Move.CLOSE_COMMITS, 3, DEADLINE)]),
        (Watched(EARLY, ROUND, complete=True), [Due(Move.CLOSE_COMMITS, 3)]),
        (Watched(EARLY, in_state(RoundState.COMMITTED)), []),
        (
            Watched(LATE, in_state(RoundState.COMMITTED)),
            [Due(Move.CLOSE_REVEALS, 3, DEADLINE)],
        ),
        (Watched(EARLY, in_state(RoundState.REVEALED)), []),
        (Watched(LATE, in_state(RoundState.REVEALED)), [Due(Move.ABANDON, 3, DEADLINE)]),
        (Watched(EARLY, ROUND, orphaned=True), [Due(Move.ABANDON, 3)]),
        (Watched(EARLY, in_state(RoundState.JUDGED), unfolded=2), [Due(Move.FOLD, 2)]),
        (Watched(LATE, in_state(RoundState.FINAL)), []),
        (Watched(EARLY, unfolded=0), [Due(Move.FOLD, 0)]),
        (Watched(EARLY, queued=True), [Due(Move.START_REPLAY, 0)]),
        (Watched(EARLY, queued=True, head_stale=True), []),
        (Watched(EARLY, ROUND, queued=True), []),
        (Watched(EARLY, replay=REPLAY), []),
        (Watched(LATE, replay=REPLAY), [Due(Move.ADVANCE_REPLAY, REPLAY.id, DEADLINE)]),
        (
            Watched(EARLY, replay=REPLAY, all_replayed=True),
            [Due(Move.ADVANCE_REPLAY, REPLAY.id)],
        ),
        (Watched(LATE, replay=replace(REPLAY, amendment=4, running=False)), []),
        (Watched(EARLY, withdrawals=withdrawal(WithdrawalState.PREPARING)), []),
        (
            Watched(LATE, withdrawals=withdrawal(WithdrawalState.PREPARING)),
            [Due(Move.ESCALATE, 5, DEADLINE)],
        ),
        (
            Watched(LATE, withdrawals=withdrawal(WithdrawalState.ATTESTING)),
            [Due(Move.ESCALATE, 5, DEADLINE)],
        ),
        (Watched(LATE, withdrawals=withdrawal(WithdrawalState.REPLAYING)), []),
        (
            Watched(EARLY, withdrawals=withdrawal(WithdrawalState.REPLAYING, replayed=True)),
            [Due(Move.FINISH_REPLAY, 5)],
        ),
        (Watched(LATE, withdrawals=withdrawal(WithdrawalState.EFFECTIVE)), []),
        (
            Watched(EARLY, withdrawals=withdrawal(WithdrawalState.EFFECTIVE, folded=True)),
            [Due(Move.CLOSE_WITHDRAWAL, 5)],
        ),
    ],
)
def test_the_moves_that_are_due(watched: Watched, expected: list[Due]) -> None:
    assert list(due_moves(watched)) == expected


def test_members_take_turns() -> None:
    due = Due(Move.FOLD, 1)
    waits = {seconds_to_wait(due, number, 3) for number in range(3)}
    assert waits == {GRACE_SECONDS + TURN_SECONDS * turn for turn in range(3)}


def test_a_move_past_its_deadline_waits_for_the_turn_of_this_member() -> None:
    due = Due(Move.ESCALATE, 5, DEADLINE)
    wait = seconds_to_wait(due, 1, 3)
    assert Turns().choose([due], DEADLINE + wait, 1, 3) is None
    assert Turns().choose([due], DEADLINE + wait + 1, 1, 3) == due


def test_a_move_without_a_deadline_waits_from_when_it_was_seen_first() -> None:
    due, turns = Due(Move.FOLD, 3), Turns()
    assert turns.choose([due], 1000, 0, 3) is None
    assert turns.choose([due], 1000 + GRACE_SECONDS + 1, 0, 3) == due


def test_a_move_that_others_made_is_forgotten() -> None:
    due, turns = Due(Move.FOLD, 3), Turns()
    assert turns.choose([due], 1000, 0, 3) is None
    assert turns.choose([], 1030, 0, 3) is None
    assert turns.choose([due], 1000 + GRACE_SECONDS + 1, 0, 3) is None
