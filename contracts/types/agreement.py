"""Values of the consortium's agreement: members, rules and settings."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.contracts.states import Rule


@dataclass(frozen=True)
class Settings:
    """The consortium's agreement, as far as the chain needs it.

    Attributes:
        parameters_id: SHA-256 of the agreed parameters.
        base_model_id: SHA-256 of the base model's files.
        rules: How the contributions of each part add up.
        chained: Whether a round trains on what all contributed before, so that there are replays.
        attested: Whether a round earns, and its model can be released, only once auditors attested
            that every accepted point opens.
        max_rounds: Most rounds.
        commit_seconds: Time to answer.
        reveal_seconds: Time to reveal.
        judge_seconds: Time for the aggregator to judge.
    """

    parameters_id: str
    base_model_id: str
    rules: tuple[Rule, ...]
    chained: bool
    attested: bool
    max_rounds: int
    commit_seconds: int
    reveal_seconds: int
    judge_seconds: int


@dataclass(frozen=True)
class MemberTerms:
    """Terms of membership; `unavailable_share` is in basis points of the aggregator's bond."""

    bond: int
    aggregator_bond: int
    unrevealed_penalty: int
    exit_seconds: int
    unavailable_share: int
    max_members: int


@dataclass(frozen=True)
class WithdrawalTerms:
    """Terms of withdrawals."""

    preparation_seconds: int
    attestation_seconds: int
    auditor_quorum: int
