"""The read side: queries of the public record, certificates and their verifier."""

from rescind.audit.attest import attest, attest_round, examine
from rescind.audit.certificate import (
    Certificate,
    CertificateUnreadable,
    EvaluationPart,
    HeadPart,
    ReplayPart,
    read_certificate,
)
from rescind.audit.checks import Check, Owner, Verification
from rescind.audit.disclosure import (
    DISCLOSURE_CHECKS,
    Shown,
    anchored_at,
    anchors_of,
    check_disclosure,
)
from rescind.audit.findings import Finding, NotAttested
from rescind.audit.heads import heads_at, heads_of
from rescind.audit.issue import build_certificate, find_withdrawal
from rescind.audit.model_queries import commitments, content, is_clean, lineage, models
from rescind.audit.queries import (
    contributions,
    membership,
    names,
    organization,
    proposals,
    registered_for,
    rounds,
)
from rescind.audit.rows import (
    AmendmentRow,
    CommitmentRow,
    ContributionRow,
    EntryRow,
    MemberRow,
    Membership,
    ModelRow,
    ModelSummaryRow,
    ProposalRow,
    PublicationRow,
    ReplayRow,
    RoundRow,
    WaitRow,
    WithdrawalRow,
)
from rescind.audit.stores import Stores
from rescind.audit.subject import Inputs
from rescind.audit.verify import CHECKS, verify
from rescind.audit.waits import replays, waits, withdrawals

__all__ = [
    "CHECKS",
    "DISCLOSURE_CHECKS",
    "AmendmentRow",
    "Certificate",
    "CertificateUnreadable",
    "Check",
    "CommitmentRow",
    "ContributionRow",
    "EntryRow",
    "EvaluationPart",
    "Finding",
    "HeadPart",
    "Inputs",
    "MemberRow",
    "Membership",
    "ModelRow",
    "ModelSummaryRow",
    "NotAttested",
    "Owner",
    "ProposalRow",
    "PublicationRow",
    "ReplayPart",
    "ReplayRow",
    "RoundRow",
    "Shown",
    "Stores",
    "Verification",
    "WaitRow",
    "WithdrawalRow",
    "anchored_at",
    "anchors_of",
    "attest",
    "attest_round",
    "build_certificate",
    "check_disclosure",
    "commitments",
    "content",
    "contributions",
    "examine",
    "find_withdrawal",
    "heads_at",
    "heads_of",
    "is_clean",
    "lineage",
    "membership",
    "models",
    "names",
    "organization",
    "proposals",
    "read_certificate",
    "registered_for",
    "replays",
    "rounds",
    "verify",
    "waits",
    "withdrawals",
]
