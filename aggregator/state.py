"""The aggregator's planner: the next step, as a pure function of the chain and its own records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import RoundState


class Step(Enum):
    """A step of the aggregator; it performs one at a time."""

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
    """The state of the model that is claimed on chain."""

    NONE = "none"
    """No model is claimed."""
    UNPROVEN = "unproven"
    """Its sum has to be proven."""
    IN_WINDOW = "in-window"
    """Its challenge window is open."""
    UNCHALLENGED = "unchallenged"
    """Its challenge window is over: it can be settled."""


@dataclass(frozen=True)
class Plan:
    """The next step, and the round or withdrawal that it is about; 0 for none."""

    step: Step
    round_id: int = 0
    withdrawal_id: int = 0


@dataclass(frozen=True)
class View:
    """Everything that the next step depends on.

    Attributes:
        now: Unix seconds, by the chain's clock, as all times here.
        active_members: Members that have not left.
        minimum_members: Active members below which no round opens.
        finalized: Rounds that are final.
        target: Final rounds after which no round opens.
        requested: Withdrawals that can be carried out in one more model.
        unwritten: Withdrawals that need evidence first.
        carried_out: Withdrawals that are carried out in all models.
        holds: Whether no round may open, because of a withdrawal.
        claim: State of the open claim.
        bond_due: Whether the aggregator has to post its bond, which it never did before.
        bonded: Whether the bond is complete; without it no round opens.
        round_id: The current round; 0 before the first.
        round_state: Its state.
        commit_deadline: When its commits may be closed.
        reveal_deadline: When its reveals may be closed.
        finalize_deadline: After this it can only be abandoned.
        all_answered: Whether all members have committed or sit out.
        all_revealed: Whether all commitments are revealed.
    """

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
    """Return the next step.

    1. A claim is proven and settled before anything else: the chain holds one claim at a time.
    2. Without a claim, withdrawals come before rounds: close, carry out, write evidence.
    3. Otherwise the round advances, or the next one opens.
    """
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
