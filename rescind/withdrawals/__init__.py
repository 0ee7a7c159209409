"""Models after a withdrawal, the evidence of it and its attestations. Imports no torch."""

from rescind.withdrawals.amendments import (
    AmendedModel,
    amended_model,
    concerned_models,
    replay_start,
)
from rescind.withdrawals.attestation import Attestation
from rescind.withdrawals.evidence import (
    EvidenceDocument,
    EvidenceUnreadable,
    OfferedPart,
    Part,
    Sha256,
    SourcePart,
    TermPart,
    first_problem,
    missing_figures,
    read_report,
)

__all__ = [
    "AmendedModel",
    "Attestation",
    "EvidenceDocument",
    "EvidenceUnreadable",
    "OfferedPart",
    "Part",
    "Sha256",
    "SourcePart",
    "TermPart",
    "amended_model",
    "concerned_models",
    "first_problem",
    "missing_figures",
    "read_report",
    "replay_start",
]
