"""The one tree of errors.

RescindError
├── ConfigError          a configuration file or command-line value
├── DataError            a training or evaluation data file
├── ArtifactError        the bytes of a delta or an adapter
├── StoreError           the content-addressed artifact store
├── WireError            gRPC, certificates, signatures
├── ChainError           the public chain and its contracts
├── LedgerError          an organization's private ledger
├── TrainingError        base model, LoRA training, evaluation
├── AgentError           participation agents and their tables
└── VerificationError    a certificate or proof that does not hold

Rooms add leaves below these. Every message says what was wrong, where, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class RescindError(Exception):
    """An expected failure. `code` is stable and kebab-case; it travels on the wire and in JSON."""

    code: ClassVar[str] = "error"


class ConfigError(RescindError):
    code = "config"


class DataError(RescindError):
    code = "data"


class ArtifactError(RescindError):
    code = "artifact"


class StoreError(RescindError):
    code = "store"


class WireError(RescindError):
    code = "wire"


class ChainError(RescindError):
    code = "chain"


class LedgerError(RescindError):
    code = "ledger"


class TrainingError(RescindError):
    code = "training"


class AgentError(RescindError):
    code = "agent"


class VerificationError(RescindError):
    code = "verification"
