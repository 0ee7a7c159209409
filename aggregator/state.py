"""What the aggregator does next: a pure function of what the chain and its own records say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import RoundState


class Step(Enum):
    WAIT = "wait"
    POST_BOND = "post-bond"
    PROVE = "prove"
    SETTLE = "settle"
    WRITE_EVIDENCE = "write-evidence"
    CARRY_OUT = "carry-out"
    CLOSE_WITHDRAWAL = "close-withdrawal"
    OPEN = "open"
    CLOSE_COMMITS = "close-commits"
    CLOSE_REVEALS = "close-reveals"
    AGGREGATE = "aggregate"
    ABANDON = "abandon"


class ClaimState(Enum):
    """Of the model that is claimed: its sum is to be proven, its challenge window runs or is over."""

    NONE = "none"
    UNPROVEN = "unproven"
    IN_WINDOW = "in-window"
    UNCHALLENGED = "unchallenged"


@dataclass(frozen=True)
class Plan:
    step: Step
    round_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class View:
    """Times are the chain's. `requested`: withdrawals that can be carried out; `unwritten`: those that
    need evidence first; `carried_out`: those of which every model was replaced. `holds`: a withdrawal
    for which no round may open. `bond_due`: the bond was never posted, and no round opens without."""

    now: int
    active_members: int
    minimum_members: int
    finalized: int
    target: int
    requested: tuple[int, ...] = ()
    unwritten: tuple[int, ...] = ()
    carried_out: tuple[int, ...] = ()
    holds: bool = False
    claim: ClaimState = ClaimState.NONE
    bond_due: bool = False
    bonded: bool = True
    round_id: int = 0
    round_state: RoundState = RoundState.NONE
    commit_deadline: int = 0
    reveal_deadline: int = 0
    finalize_deadline: int = 0
    all_answered: bool = False
    all_revealed: bool = False


def plan(view: View) -> Plan:
    if view.claim is ClaimState.UNPROVEN:
        return Plan(Step.PROVE, view.round_id)
    if view.claim is ClaimState.UNCHALLENGED:
        return Plan(Step.SETTLE, view.round_id)
    if view.claim is ClaimState.NONE:
        if view.carried_out:
            return Plan(Step.CLOSE_WITHDRAWAL, withdrawal_id=view.carried_out[0])
        if view.requested:
            return Plan(Step.CARRY_OUT, withdrawal_id=view.requested[0])
        if view.unwritten:
            return Plan(Step.WRITE_EVIDENCE, withdrawal_id=view.unwritten[0])
    return _round_step(view)


def _round_step(view: View) -> Plan:
    state, wait = view.round_state, Plan(Step.WAIT, view.round_id)
    if state is RoundState.OPEN:
        ready = view.all_answered or view.now > view.commit_deadline
        return Plan(Step.CLOSE_COMMITS, view.round_id) if ready else wait
    if state is RoundState.COMMITTED:
        ready = view.all_revealed or view.now > view.reveal_deadline
        return Plan(Step.CLOSE_REVEALS, view.round_id) if ready else wait
    if state is RoundState.REVEALED:
        if view.now > view.finalize_deadline:
            return Plan(Step.ABANDON, view.round_id)
        return Plan(Step.AGGREGATE, view.round_id) if view.claim is ClaimState.NONE else wait
    if state is RoundState.AGGREGATED:
        return wait
    return _next_round(view)


def _next_round(view: View) -> Plan:
    if view.bond_due:
        return Plan(Step.POST_BOND)
    wanted = view.finalized < view.target and view.active_members >= view.minimum_members
    return Plan(Step.OPEN if wanted and view.bonded and not view.holds else Step.WAIT)
