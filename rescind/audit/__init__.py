"""The read side: queries of the public record, certificates and their verifier."""

from rescind.audit.attest import Finding, NotAttested, attest, examine
from rescind.audit.certificate import (
    Certificate,
    CertificateUnreadable,
    EvaluationPart,
    ReplayPart,
    read_certificate,
)
from rescind.audit.checks import Check, Verification
from rescind.audit.disclosure import (
    DISCLOSURE_CHECKS,
    Shown,
    anchored_at,
    anchors_of,
    check_disclosure,
)
from rescind.audit.issue import build_certificate
from rescind.audit.queries import (
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
from rescind.audit.rows import (
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
from rescind.audit.verify import CHECKS, verify

__all__ = [
    "CHECKS",
    "DISCLOSURE_CHECKS",
    "AmendmentRow",
    "Certificate",
    "CertificateUnreadable",
    "Check",
    "ContributionRow",
    "EvaluationPart",
    "Finding",
    "MemberRow",
    "Membership",
    "ModelRow",
    "ModelSummaryRow",
    "NotAttested",
    "ProposalRow",
    "ReplayPart",
    "RoundRow",
    "Shown",
    "TermRow",
    "Verification",
    "WithdrawalRow",
    "anchored_at",
    "anchors_of",
    "attest",
    "build_certificate",
    "check_disclosure",
    "contributions",
    "examine",
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
