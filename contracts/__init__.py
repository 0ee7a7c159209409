"""The public record: Solidity, compiled artefacts, and a typed client."""

from contracts.account import Account
from contracts.artefact import Artefact, load_artefact
from contracts.chain import Chain
from contracts.consortium import DIGESTS_PER_TRANSACTION, Consortium, commitment
from contracts.deployment import Address, Deployment, DeploySettings, deploy
from contracts.errors import (
    ChainUnavailable,
    ContractRefused,
    ContractsMissing,
    KeystoreError,
    WrongChain,
)
from contracts.record import NO_ADAPTER
from contracts.types import (
    Amendment,
    Anchor,
    Answer,
    AnswerState,
    Claim,
    Contribution,
    DeltaId,
    Event,
    Member,
    MemberStatus,
    Model,
    ModelKind,
    Proposal,
    Receipt,
    Rejection,
    RejectReason,
    Round,
    RoundState,
    SumTerm,
    Withdrawal,
    WithdrawalState,
)

__all__ = [
    "DIGESTS_PER_TRANSACTION",
    "NO_ADAPTER",
    "Account",
    "Address",
    "Amendment",
    "Anchor",
    "Answer",
    "AnswerState",
    "Artefact",
    "Chain",
    "ChainUnavailable",
    "Claim",
    "Consortium",
    "ContractRefused",
    "ContractsMissing",
    "Contribution",
    "DeltaId",
    "DeploySettings",
    "Deployment",
    "Event",
    "KeystoreError",
    "Member",
    "MemberStatus",
    "Model",
    "ModelKind",
    "Proposal",
    "Receipt",
    "RejectReason",
    "Rejection",
    "Round",
    "RoundState",
    "SumTerm",
    "Withdrawal",
    "WithdrawalState",
    "WrongChain",
    "commitment",
    "deploy",
    "load_artefact",
]
