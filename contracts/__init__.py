"""The public record: Solidity, compiled artefacts, and a typed client."""

from contracts.account import Account
from contracts.artefact import Artefact, load_artefact
from contracts.chain import Chain
from contracts.consortium import NO_ADAPTER, Consortium, commitment
from contracts.deployment import Address, Deployment, DeploySettings, deploy
from contracts.errors import (
    ChainUnavailable,
    ContractRefused,
    ContractsMissing,
    KeystoreError,
    WrongChain,
)
from contracts.types import (
    Anchor,
    Answer,
    AnswerState,
    Contribution,
    Event,
    Member,
    MemberStatus,
    Model,
    ModelKind,
    Receipt,
    Rejection,
    RejectReason,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalState,
)

__all__ = [
    "NO_ADAPTER",
    "Account",
    "Address",
    "Anchor",
    "Answer",
    "AnswerState",
    "Artefact",
    "Chain",
    "ChainUnavailable",
    "Consortium",
    "ContractRefused",
    "ContractsMissing",
    "Contribution",
    "DeploySettings",
    "Deployment",
    "Event",
    "KeystoreError",
    "Member",
    "MemberStatus",
    "Model",
    "ModelKind",
    "Receipt",
    "RejectReason",
    "Rejection",
    "Round",
    "RoundState",
    "Withdrawal",
    "WithdrawalState",
    "WrongChain",
    "commitment",
    "deploy",
    "load_artefact",
]
