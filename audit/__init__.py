"""The read side: queries of the public record, certificates and their verifier."""

from audit.certificate import (
    Certificate,
    CertificateUnreadable,
    EvaluationPart,
    ReplayPart,
    build_certificate,
    read_certificate,
)
from audit.queries import (
    ContributionRow,
    ModelRow,
    RoundRow,
    TermRow,
    WithdrawalRow,
    contributions,
    lineage,
    names,
    rounds,
    withdrawals,
)
from audit.verify import CHECKS, Check, Verification, verify

__all__ = [
    "CHECKS",
    "Certificate",
    "CertificateUnreadable",
    "Check",
    "ContributionRow",
    "EvaluationPart",
    "ModelRow",
    "ReplayPart",
    "RoundRow",
    "TermRow",
    "Verification",
    "WithdrawalRow",
    "build_certificate",
    "contributions",
    "lineage",
    "names",
    "read_certificate",
    "rounds",
    "verify",
    "withdrawals",
]
