"""The moves that anyone may send, so that no party's absence stalls the others.

The aggregator sends most of them at once; a node waits for its turn (rescind.node.turns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog

from rescind.contracts import (
    Replay,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalState,
    next_piece,
)
from rescind.node.session import Session
from rescind.node.turns import Due, Move


@dataclass(frozen=True)
class WithdrawalWatch:
    """A withdrawal that is open, with what its next move depends on."""

    withdrawal: Withdrawal
    folded: bool = False
    replayed: bool = False


@dataclass(frozen=True)
class Watched:
    """The states on chain that anyone may move on.

    Attributes:
        now: Unix seconds, by the chain's clock.
        round: The current round; None before the first.
        complete: Whether all members that the round's phase waits for have acted.
        orphaned: Whether the round is chained to a parent that became stale.
        unfolded: A stale model in use, or the head of a judged round; None if all is folded.
        head_stale: Whether the head is stale.
        queued: Whether a withdrawal waits for a replay.
        replay: The running replay, or the last one.
        all_replayed: Whether all members that the replay's round waits for have offered.
        withdrawals: The open withdrawals.
    """

    now: int
    round: Round | None = None
    complete: bool = False
    orphaned: bool = False
    unfolded: int | None = None
    head_stale: bool = False
    queued: bool = False
    replay: Replay | None = None
    all_replayed: bool = False
    withdrawals: Sequence[WithdrawalWatch] = ()


def due_moves(watched: Watched) -> Iterator[Due]:
    """Yield every move that the contracts would accept now, the most urgent first."""
    yield from _round_moves(watched)
    if watched.unfolded is not None:
        yield Due(Move.FOLD, watched.unfolded)
    yield from _replay_moves(watched)
    for each in watched.withdrawals:
        yield from _withdrawal_moves(each, watched.now)


def _round_moves(watched: Watched) -> Iterator[Due]:
    current = watched.round
    if current is None or current.state.over:
        return
    late = watched.now > current.deadline
    since = current.deadline if late else 0
    if watched.orphaned:
        yield Due(Move.ABANDON, current.id)
    elif current.state is RoundState.OPEN and (late or watched.complete):
        yield Due(Move.CLOSE_COMMITS, current.id, since)
    elif current.state is RoundState.COMMITTED and (late or watched.complete):
        yield Due(Move.CLOSE_REVEALS, current.id, since)
    elif current.state is RoundState.REVEALED and late:
        yield Due(Move.ABANDON, current.id, since)


def _replay_moves(watched: Watched) -> Iterator[Due]:
    replay = watched.replay
    if replay is not None and replay.running:
        late = watched.now > replay.deadline
        if late or watched.all_replayed:
            yield Due(Move.ADVANCE_REPLAY, replay.id, replay.deadline if late else 0)
        return
    in_flight = watched.round is not None and not watched.round.state.over
    if watched.queued and not in_flight and not watched.head_stale:
        yield Due(Move.START_REPLAY, 0)


def _withdrawal_moves(watched: WithdrawalWatch, now: int) -> Iterator[Due]:
    withdrawal = watched.withdrawal
    waits = withdrawal.state in (WithdrawalState.PREPARING, WithdrawalState.ATTESTING)
    if waits and now > withdrawal.deadline:
        yield Due(Move.ESCALATE, withdrawal.id, withdrawal.deadline)
    elif withdrawal.state is WithdrawalState.REPLAYING and watched.replayed:
        yield Due(Move.FINISH_REPLAY, withdrawal.id)
    elif withdrawal.state is WithdrawalState.EFFECTIVE and watched.folded:
        yield Due(Move.CLOSE_WITHDRAWAL, withdrawal.id)


def watch(session: Session, withdrawals: Sequence[Withdrawal], now: int) -> Watched:
    """Read what anyone may move on, at one block.

    Args:
        session: The node's session.
        withdrawals: Every withdrawal, in order.
        now: Unix seconds, by the chain's clock.
    """
    reader = session.consortium
    round_id = reader.current_round_id()
    current = reader.round(round_id) if round_id else None
    replay, head = reader.current_replay(), reader.latest_model_id()
    stale = [each for each in reader.models_in_use() if reader.is_stale(each)]
    judged = current is not None and current.state is RoundState.JUDGED
    return Watched(
        now=now,
        round=current,
        complete=_complete(session, current),
        orphaned=current is not None
        and not current.state.over
        and reader.settings().chained
        and (current.parent_model in stale or current.parent_model != head),
        unfolded=stale[0] if stale else head if judged else None,
        head_stale=head in stale,
        queued=bool(reader.queued_withdrawals()),
        replay=replay,
        all_replayed=replay is not None and replay.running and _all_replayed(session, replay),
        withdrawals=[
            WithdrawalWatch(
                each,
                each.state is WithdrawalState.EFFECTIVE and reader.is_folded(each.amendment),
                each.state is WithdrawalState.REPLAYING and _is_replayed(session, each),
            )
            for each in withdrawals
            if each.state is not WithdrawalState.CLOSED
        ],
    )


def _complete(session: Session, current: Round | None) -> bool:
    if current is None:
        return False
    if current.state is RoundState.OPEN:
        return session.consortium.all_answered(current.id)
    return current.state is RoundState.COMMITTED and session.consortium.all_revealed(current.id)


def _all_replayed(session: Session, replay: Replay) -> bool:
    reader = session.consortium
    offered = {each.organization for each in reader.replayed(replay.id, replay.round_id)}
    return set(reader.expected_replayers()) <= offered


def _is_replayed(session: Session, withdrawal: Withdrawal) -> bool:
    replay_id = session.consortium.replay_of(withdrawal.id)
    # A replay that all its withdrawals left has ended without an amendment.
    return bool(replay_id) and bool(session.consortium.replay(replay_id).amendment)


def make_move(session: Session, move: Move, number: int) -> None:
    """Send a move.

    Args:
        session: The node's session.
        move: The move.
        number: The round or withdrawal that it is about.
    """
    structlog.get_logger().warning("moving a late state on", move=move.value, number=number)
    consortium = session.consortium
    if move is Move.FOLD:
        fold(session)
    elif move is Move.START_REPLAY:
        consortium.start_replay()
    elif move is Move.ADVANCE_REPLAY:
        consortium.advance_replay()
    else:
        {
            Move.CLOSE_COMMITS: consortium.close_commits,
            Move.CLOSE_REVEALS: consortium.close_reveals,
            Move.ABANDON: consortium.abandon,
            Move.ESCALATE: consortium.escalate,
            Move.FINISH_REPLAY: consortium.finish_replay,
            Move.CLOSE_WITHDRAWAL: consortium.close_withdrawal,
        }[move](number)


def fold(session: Session) -> None:
    """Send every piece that sums or folds, until nothing is left."""
    while (piece := next_piece(session.consortium)) is not None:
        session.halt_if_stopped()
        session.consortium.send(piece)
