"""What there is in a consortium, and what it agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rescind.contracts import (
    AnswerState,
    Contribution,
    DeltaId,
    DeploySettings,
    MemberStatus,
    ModelKind,
    RoundState,
    WithdrawalState,
)

TERMS = DeploySettings.model_construct()
"""What a consortium agrees on by default."""
NOTHING = DeltaId("00" * 32, "")


@dataclass
class Organization:
    status: MemberStatus = MemberStatus.ACTIVE
    bond: int = TERMS.bond_wei
    exit_at: int = 0
    reward: int = 0


@dataclass
class Answer:
    state: AnswerState
    delta: DeltaId = NOTHING
    salt: bytes = b""


@dataclass
class Round:
    parent: int
    commit_deadline: int
    state: RoundState = RoundState.OPEN
    reveal_deadline: int = 0
    finalize_deadline: int = 0
    model: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    accepted: Sequence[Contribution] = ()

    def who(self, state: AnswerState) -> list[str]:
        found = [who for who, answer in self.answers.items() if answer.state is state]
        return sorted(found, key=str.lower)


@dataclass(frozen=True)
class Part:
    """`order`: when it was offered, among all offers; 0 for what a round brought."""

    round_id: int
    organization: str
    delta: DeltaId
    weight: int
    order: int = 0


@dataclass
class Model:
    """`applied`: the withdrawals that made it what it is."""

    adapter: DeltaId
    parent: int
    kind: ModelKind
    last_round: int
    parts: Sequence[Part]
    applied: frozenset[int] = frozenset()
    released: bool = False
    in_use: bool = True

    def has(self, organization: str) -> bool:
        return any(part.organization == organization for part in self.parts)


@dataclass
class Amendment:
    kind: ModelKind
    excludes: bool
    organization: str
    first_round: int
    withdrawal: int
    first_model: int = 0


@dataclass
class Claim:
    """`parts`: what the model must hold; `complete`: whether a replay replaced all it has to."""

    kind: ModelKind
    round_id: int
    source: int
    deadline: int
    adapter: DeltaId
    parts: Sequence[Part]
    right: bool
    complete: bool = True


@dataclass
class Withdrawal:
    organization: str
    method: ModelKind
    state: WithdrawalState
    deadline: int
    subject: str = ""
    expelled: bool = False
    evidence: str = ""
    offered: bool = False
    closed_model: int = 0

    @property
    def excludes(self) -> bool:
        return not self.subject and self.method is not ModelKind.COUNTER_TRAINING


@dataclass
class Proposal:
    action: str
    argument: str | int
    deadline: int
    voters: set[str] = field(default_factory=set)
    executed: bool = False
