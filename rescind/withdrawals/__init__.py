"""Models after a withdrawal, the acceptance of their files, evidence and attestations.

Imports no torch.
"""

from rescind.withdrawals.acceptance import (
    Acceptance,
    OwnerCheck,
    RecordedModel,
    accept,
    accept_files,
    most_adapter_bytes,
    most_opening_bytes,
    record_of,
)

__all__ = [
    "Acceptance",
    "OwnerCheck",
    "RecordedModel",
    "accept",
    "accept_files",
    "most_adapter_bytes",
    "most_opening_bytes",
    "record_of",
]
