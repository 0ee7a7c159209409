"""Exit codes by kind of error. docs/exit-codes.md explains each and how to resolve it.

A number is never reused for another meaning.
"""

from __future__ import annotations

from rescind.core.errors import (
    AgentError,
    ArtifactError,
    ChainError,
    ConfigError,
    DataError,
    LedgerError,
    RescindError,
    StoreError,
    TrainingError,
    VerificationError,
    WireError,
)

UNEXPECTED = 1
USAGE = 2
RUN_FAILED = 3
LEDGER_UNSOUND = 30
INTERRUPTED = 130

BY_ERROR: dict[type[RescindError], int] = {
    ConfigError: 10,
    DataError: 11,
    ArtifactError: 12,
    StoreError: 13,
    WireError: 14,
    ChainError: 15,
    LedgerError: 16,
    TrainingError: 17,
    AgentError: 18,
    VerificationError: 19,
    RescindError: RUN_FAILED,
}


def exit_code(error: RescindError) -> int:
    """Return the exit code of an error: that of its nearest listed class."""
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)
