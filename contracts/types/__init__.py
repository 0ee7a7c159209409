"""Values of the public record.

Addresses are EIP-55, ids and hashes lowercase hexadecimal without 0x, times Unix seconds on the
chain's clock, amounts wei. A member's number is its place in the order of joining, from 0.
"""

from rescind.contracts.types.agreement import MemberTerms, Settings, WithdrawalTerms
from rescind.contracts.types.members import (
    Anchor,
    FingerprintClaim,
    Member,
    Proposal,
    StatedPrivacy,
)
from rescind.contracts.types.models import (
    REPLAY_OFFERS,
    Amendment,
    Entry,
    Fold,
    Model,
    Publication,
    SumProgress,
    Term,
)
from rescind.contracts.types.rounds import (
    NO_MANIFEST,
    Answers,
    Contribution,
    Judgement,
    Parts,
    Rejection,
    Round,
)
from rescind.contracts.types.transactions import Event, Receipt
from rescind.contracts.types.withdrawals import Replay, Withdrawal

__all__ = [
    "NO_MANIFEST",
    "REPLAY_OFFERS",
    "Amendment",
    "Anchor",
    "Answers",
    "Contribution",
    "Entry",
    "Event",
    "FingerprintClaim",
    "Fold",
    "Judgement",
    "Member",
    "MemberTerms",
    "Model",
    "Parts",
    "Proposal",
    "Publication",
    "Receipt",
    "Rejection",
    "Replay",
    "Round",
    "Settings",
    "StatedPrivacy",
    "SumProgress",
    "Term",
    "Withdrawal",
    "WithdrawalTerms",
]
