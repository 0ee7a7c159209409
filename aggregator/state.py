"""The aggregator's planner: the next step, as a pure function of the chain and its own records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import RoundState


class Step(Enum):
    """A step of the aggregator; it performs one at a time."""

    WAIT = "wait"
    POST_BOND = "post-bond"
    SEND_PIECE = "send-piece"
    BUILD = "build"
    PUBLISH = "publish"
    ATTEST_ROUND = "attest-round"
    ESCALATE = "escalate"
    START_REPLAY = "start-replay"
    ADVANCE_REPLAY = "advance-replay"
    FINISH_REPLAY = "finish-replay"
    WRITE_EVIDENCE = "write-evidence"
    ATTEST = "attest"
    CLOSE_WITHDRAWAL = "close-withdrawal"
    ERASE = "erase"
    OPEN = "open"
    CLOSE_COMMITS = "close-commits"
    CLOSE_REVEALS = "close-reveals"
    JUDGE = "judge"
    ABANDON = "abandon"


@dataclass(frozen=True)
class Plan:
    """The next step, and the round, model or withdrawal that it is about; 0 for none."""

    step: Step
    round_id: int = 0
    model_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class Standing:
    """Withdrawals and the replay, by what can be done for them now.

    Attributes:
        late: Withdrawals that turn into removals.
        replayed: Withdrawals whose replay is done, so that they can be attested.
        unwritten: Withdrawals whose evidence is due.
        attested: Withdrawals whose evidence a quorum of auditors has signed.
        done: Withdrawals that can be closed.
        replay_due: Whether a replay can begin.
        advance_due: Whether the current round of the replay can be ended.
        replay_pending: Whether a replay waits or runs, so that no round opens.
    """

    late: tuple[int, ...] = ()
    replayed: tuple[int, ...] = ()
    unwritten: tuple[int, ...] = ()
    attested: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    replay_due: bool = False
    advance_due: bool = False
    replay_pending: bool = False


@dataclass(frozen=True)
class View:
    """Everything that the next step depends on.

    Attributes:
        now: Unix seconds, by the chain's clock, as all times here.
        active_members: Members that have not left.
        minimum_members: Active members below which no round opens.
        finalized: Rounds that are final.
        target: Final rounds after which no round opens.
        rounds_left: Whether the chain takes another round.
        appointed: Whether this is the consortium's aggregator: the members may vote for another.
        standing: Withdrawals and the replay.
        piece_due: Whether points wait to be summed or folded.
        unbuilt: Models in use whose files can be built.
        unpublished: Models in use whose files are built and not published.
        awaited: Whether files of a model in use wait for contributions, so that no round opens.
        erasure_due: Whether files that a closed withdrawal took out of the models are still here.
        signed_round: The next final round that a quorum of auditors has signed; 0 for none.
        bond_due: Whether the aggregator has to post its bond, which it never did before.
        bonded: Whether the bond is complete; without it no round opens.
        round_id: The current round; 0 before the first.
        round_state: Its state.
        deadline: When its state is late.
        orphaned: Whether rounds are chained and the round's parent is not the head, or stale.
        stale: Whether the head is stale.
        all_answered: Whether all members have answered.
        all_revealed: Whether all commitments are revealed.
    """

    now: int
    active_members: int
    minimum_members: int
    finalized: int
    target: int
    rounds_left: bool = True
    appointed: bool = True
    standing: Standing = Standing()
    piece_due: bool = False
    unbuilt: tuple[int, ...] = ()
    unpublished: tuple[int, ...] = ()
    awaited: bool = False
    erasure_due: bool = False
    signed_round: int = 0
    bond_due: bool = False
    bonded: bool = True
    round_id: int = 0
    round_state: RoundState = RoundState.NONE
    deadline: int = 0
    orphaned: bool = False
    stale: bool = False
    all_answered: bool = False
    all_revealed: bool = False


def plan(view: View) -> Plan:
    """Return the next step.

    1. What has a deadline on chain comes first: a round that is to be judged, or that is orphaned.
    2. Then sums and folds, and the files of the models that they make: a removal is in force only
       for a holder that has the files of the model without it.
    3. Then auditors' signatures of rounds, withdrawals and replays, the erasure of what closed
       withdrawals took out, and last the round that is under way, or the next one.
    """
    round_id = view.round_id
    if view.orphaned and not view.round_state.over:
        return Plan(Step.ABANDON, round_id=round_id)
    if view.round_state is RoundState.REVEALED and view.now > view.deadline:
        return Plan(Step.ABANDON, round_id=round_id)
    if view.round_state is RoundState.REVEALED and view.appointed:
        return Plan(Step.JUDGE, round_id=round_id)
    if view.piece_due:
        return Plan(Step.SEND_PIECE, round_id=round_id)
    if view.unbuilt:
        return Plan(Step.BUILD, model_id=view.unbuilt[0])
    if view.unpublished:
        return Plan(Step.PUBLISH, model_id=view.unpublished[0])
    if view.signed_round:
        return Plan(Step.ATTEST_ROUND, round_id=view.signed_round)
    step = _withdrawal_step(view)
    if step is None and view.erasure_due:
        return Plan(Step.ERASE)
    return step or _round_step(view)


def _withdrawal_step(view: View) -> Plan | None:
    standing = view.standing
    lists = (
        (Step.CLOSE_WITHDRAWAL, standing.done),
        (Step.ATTEST, standing.attested),
        (Step.WRITE_EVIDENCE, standing.unwritten),
        (Step.FINISH_REPLAY, standing.replayed),
        (Step.ESCALATE, standing.late),
    )
    for step, withdrawals in lists:
        if withdrawals:
            return Plan(step, withdrawal_id=withdrawals[0])
    if standing.advance_due:
        return Plan(Step.ADVANCE_REPLAY)
    return Plan(Step.START_REPLAY) if standing.replay_due else None


def _round_step(view: View) -> Plan:
    state, wait = view.round_state, Plan(Step.WAIT, round_id=view.round_id)
    if state is RoundState.OPEN:
        ready = view.all_answered or view.now > view.deadline
        return Plan(Step.CLOSE_COMMITS, round_id=view.round_id) if ready else wait
    if state is RoundState.COMMITTED:
        ready = view.all_revealed or view.now > view.deadline
        return Plan(Step.CLOSE_REVEALS, round_id=view.round_id) if ready else wait
    waits = state in (RoundState.REVEALED, RoundState.JUDGED) or not view.appointed
    return wait if waits else _next_round(view)


def _next_round(view: View) -> Plan:
    if view.bond_due:
        return Plan(Step.POST_BOND)
    wanted = view.finalized < view.target and view.active_members >= view.minimum_members
    possible = view.bonded and view.rounds_left and not view.stale
    opens = wanted and possible and not (view.awaited or view.standing.replay_pending)
    return Plan(Step.OPEN if opens else Step.WAIT)
