"""The tree of errors.

RescindError
├── ConfigError          a configuration file or command-line value
├── DataError            a training or evaluation data file
├── ArtifactError        the bytes of a delta or an adapter
├── StoreError           the artifact store, and the daemons' journals
├── WireError            gRPC, certificates, signatures
├── ChainError           the public chain and its contracts
├── LedgerError          an organization's private ledger
├── TrainingError        base model, LoRA training, evaluation
├── AgentError           participation agents and their tables
└── VerificationError    a certificate or proof that does not hold

Subpackages add leaves below these. Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from typing import ClassVar


class RescindError(Exception):
    """An expected failure.

    Attributes:
        code: A stable name in kebab-case, which travels on the wire and in JSON.
    """

    code: ClassVar[str] = "error"


class ConfigError(RescindError):
    """A configuration file or command-line value is not valid."""

    code = "config"


class DataError(RescindError):
    """A training or evaluation data file is not valid."""

    code = "data"


class ArtifactError(RescindError):
    """The bytes of a delta or an adapter are not valid."""

    code = "artifact"


class StoreError(RescindError):
    """The artifact store cannot read or write."""

    code = "store"


class WireError(RescindError):
    """A call, a certificate or a signature on the wire failed."""

    code = "wire"


class ChainError(RescindError):
    """The public chain or a contract refused."""

    code = "chain"


class LedgerError(RescindError):
    """A private ledger refused or is damaged."""

    code = "ledger"


class TrainingError(RescindError):
    """Loading, training or evaluating a model failed."""

    code = "training"


class AgentError(RescindError):
    """A participation agent or its table is not valid."""

    code = "agent"


class VerificationError(RescindError):
    """A certificate or proof does not hold."""

    code = "verification"
