"""Withdrawals and replays."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.contracts.states import WithdrawalMethod, WithdrawalState


@dataclass(frozen=True)
class Withdrawal:
    """A request to take contributions back.

    Attributes:
        id: Its number, from 1.
        organization: Whose contributions it concerns.
        state: Where it stands.
        method: How it is carried out.
        expelled: Whether the members' vote requested it.
        requested_at: Time of the request.
        amendment: The last amendment that it made, or 0.
        deadline: When its present state is late; 0 where it cannot be.
        from_round: First round that it changes; 0 for a counter-delta.
        closed_model: The head when it was closed.
        subject: Salted commitment to one data subject; empty for the whole organization.
        evidence: SHA-256 of what the auditors attested, or empty.
    """

    id: int
    organization: str
    state: WithdrawalState
    method: WithdrawalMethod
    expelled: bool
    requested_at: int
    amendment: int
    deadline: int
    from_round: int
    closed_model: int
    subject: str
    evidence: str


@dataclass(frozen=True)
class Replay:
    """Rounds that members train again.

    Attributes:
        id: Its number, which is also the offer id of its points.
        from_round: First round.
        to_round: Last round.
        round_id: The round that members train now; `to_round` + 1 once all are closed.
        deadline: Until when they can offer for it.
        amendment: The amendment that it became; 0 while it runs, or if it ended because every
            withdrawal that it was for became a removal.
        withdrawals: The withdrawals that it is for.
        running: Whether members still train.
    """

    id: int
    from_round: int
    to_round: int
    round_id: int
    deadline: int
    amendment: int
    withdrawals: tuple[int, ...]
    running: bool
