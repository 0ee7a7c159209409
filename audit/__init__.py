"""The read side: queries of the public record, certificates and their verifier."""

from audit.certificate import (
    Certificate,
    CertificateUnreadable,
    EvaluationPart,
    ReplayPart,
    read_certificate,
)
from audit.checks import Check, Verification
from audit.disclosure import DISCLOSURE_CHECKS, Shown, anchored_at, check_disclosure
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
from audit.verify import CHECKS, verify

__all__ = [
    "CHECKS",
    "DISCLOSURE_CHECKS",
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
    "Shown",
    "TermRow",
    "Verification",
    "WithdrawalRow",
    "anchored_at",
    "build_certificate",
    "check_disclosure",
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
