"""What the aggregator does next: a pure function of what the chain and its own records say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from contracts import RoundState


class Step(Enum):
    WAIT = "wait"
    REMOVE = "remove"
    OPEN = "open"
    CLOSE_COMMITS = "close-commits"
    CLOSE_REVEALS = "close-reveals"
    FINALIZE = "finalize"
    ABANDON = "abandon"


@dataclass(frozen=True)
class Plan:
    step: Step
    round_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class View:
    """Times are the chain's. `requested`: open withdrawals; `overdue`: whether any is late."""

    now: int
    active_members: int
    minimum_members: int
    finalized: int
    target: int
    requested: tuple[int, ...] = ()
    round_id: int = 0
    round_state: RoundState = RoundState.NONE
    commit_deadline: int = 0
    reveal_deadline: int = 0
    finalize_deadline: int = 0
    all_answered: bool = False
    all_revealed: bool = False


def plan(view: View) -> Plan:
    if view.requested:
        return Plan(Step.REMOVE, withdrawal_id=view.requested[0])
    state = view.round_state
    if state is RoundState.OPEN:
        ready = view.all_answered or view.now > view.commit_deadline
        return Plan(Step.CLOSE_COMMITS if ready else Step.WAIT, view.round_id)
    if state is RoundState.COMMITTED:
        ready = view.all_revealed or view.now > view.reveal_deadline
        return Plan(Step.CLOSE_REVEALS if ready else Step.WAIT, view.round_id)
    if state is RoundState.REVEALED:
        late = view.now > view.finalize_deadline
        return Plan(Step.ABANDON if late else Step.FINALIZE, view.round_id)
    if view.finalized < view.target and view.active_members >= view.minimum_members:
        return Plan(Step.OPEN)
    return Plan(Step.WAIT)
