"""The read side: queries of the public record, certificates and their verifier."""

from audit.certificate import (
    Certificate,
    CertificateUnreadable,
    EvaluationPart,
    ReplayPart,
    read_certificate,
)
from audit.issue import build_certificate
from audit.queries import (
    contributions,
    lineage,
    membership,
    models,
    names,
    organization,
    proposals,
    rounds,
    withdrawals,
)
from audit.rows import (
    AmendmentRow,
    ContributionRow,
    MemberRow,
    Membership,
    ModelRow,
    ModelSummaryRow,
    ProposalRow,
    RoundRow,
    TermRow,
    WithdrawalRow,
)
from audit.verify import CHECKS, Check, Verification, verify

__all__ = [
    "CHECKS",
    "AmendmentRow",
    "Certificate",
    "CertificateUnreadable",
    "Check",
    "ContributionRow",
    "EvaluationPart",
    "MemberRow",
    "Membership",
    "ModelRow",
    "ModelSummaryRow",
    "ProposalRow",
    "ReplayPart",
    "RoundRow",
    "TermRow",
    "Verification",
    "WithdrawalRow",
    "build_certificate",
    "contributions",
    "lineage",
    "membership",
    "models",
    "names",
    "organization",
    "proposals",
    "read_certificate",
    "rounds",
    "verify",
    "withdrawals",
]
