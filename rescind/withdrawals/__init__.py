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
from rescind.withdrawals.attestation import Attestation, StatementPart, Status
from rescind.withdrawals.attestation_files import read_attestation
from rescind.withdrawals.erasing import Erasing
from rescind.withdrawals.erasure import Derived, ErasureFacts, Reason, Registered, to_erase
from rescind.withdrawals.erasure_facts import erasure_facts, signature
from rescind.withdrawals.erasure_journal import Erasure
from rescind.withdrawals.evidence import (
    EvidenceDocument,
    EvidenceUnreadable,
    ModelPart,
    OfferedPart,
    Part,
    Sha256,
    TermPart,
    first_problem,
    missing_figures,
    read_report,
    written,
)
from rescind.withdrawals.model_figures import Measure, ModelFigures, ModelPair
from rescind.withdrawals.repetition import RepeatedPart, Repetition, StackPart
from rescind.withdrawals.replays import remaining_content, replay_content, replayed_entries
from rescind.withdrawals.round_attestation import (
    RoundAttestation,
    accepted_contributions,
    round_evidence,
)
from rescind.withdrawals.sampling import (
    NothingToRepeat,
    Sample,
    draw_sample,
    draw_samples,
    last_offers,
)
from rescind.withdrawals.summed import members_in_sum
from rescind.withdrawals.terms import terms_of

__all__ = [
    "Acceptance",
    "Attestation",
    "Derived",
    "Erasing",
    "Erasure",
    "ErasureFacts",
    "EvidenceDocument",
    "EvidenceUnreadable",
    "Measure",
    "ModelFigures",
    "ModelPair",
    "ModelPart",
    "NothingToRepeat",
    "OfferedPart",
    "OwnerCheck",
    "Part",
    "Reason",
    "RecordedModel",
    "Registered",
    "RepeatedPart",
    "Repetition",
    "RoundAttestation",
    "Sample",
    "Sha256",
    "StackPart",
    "StatementPart",
    "Status",
    "TermPart",
    "accept",
    "accept_files",
    "accepted_contributions",
    "draw_sample",
    "draw_samples",
    "erasure_facts",
    "first_problem",
    "last_offers",
    "members_in_sum",
    "missing_figures",
    "most_adapter_bytes",
    "most_opening_bytes",
    "read_attestation",
    "read_report",
    "record_of",
    "remaining_content",
    "replay_content",
    "replayed_entries",
    "round_evidence",
    "signature",
    "terms_of",
    "to_erase",
    "written",
]
