"""Advice for every error with which the contracts refuse a transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any

from rescind.contracts.states import MemberStatus, RoundState, WithdrawalMethod, WithdrawalState

_INTERNAL = "Only another contract of the consortium calls this."
_SETTINGS = "The settings of a deployment are not allowed: see docs/deploy.md."
_ROUND_FIRST = "Wait for the round under way to end: see rescind audit waits."
_FOLD_FIRST = "The newest model lacks a withdrawal's change. Fold first: rescind withdraw fold."

ADVICE = {
    # Members
    "AlreadyAdmitted": "The organization is admitted or joined already.",
    "EmptyValue": "An address, name, hash or fingerprint is empty. Give one.",
    "IsAggregator": "The aggregator cannot be a member. Admit another address.",
    "IsMember": "A member cannot be the aggregator. Choose another address.",
    "MayNotContribute": "Only an active member with a whole bond contributes: rescind node topup.",
    "NoPenaltyDue": "The organization owes no penalty.",
    "NotAllowed": "Your account may not do this. rescind audit members shows whose it is.",
    "NotFounder": "Only the founder can do this. Use the founder's keystore.",
    "NotGovernance": "The members decide this by vote: rescind govern propose.",
    "NotMember": "Only members can do this.",
    "NothingToClaim": "There is nothing to take out.",
    "TooEarly": "The exit delay is not over. Try again after that time.",
    "TooManyMembers": "The consortium has the most organizations that were agreed on.",
    "UnknownAuditor": "rescind audit members shows the auditors.",
    "WrongBond": "Pay exactly what is required.",
    "WrongStatus": "The organization's status does not allow this: see rescind audit members.",
    # Governance
    "AlreadyExecuted": "The proposal was carried out already.",
    "AlreadyVoted": "Your vote is counted already.",
    "Expired": "The time for votes is over. Propose it again.",
    "NotActive": "Only active members can do this.",
    "NotEnoughVotes": "More active members must vote for it first: rescind govern vote.",
    "TargetNotGoverned": "Only calls of Members and Withdrawals can be proposed.",
    "UnknownProposal": "rescind govern list shows the proposals.",
    # Rounds
    "AggregatorBondMissing": "The aggregator must pay its bond first: rescind aggregator bond.",
    "AlreadyAnswered": "The organization has answered this round already.",
    "AttestedBefore": "The round was attested already.",
    "CommitmentMismatch": "The reveal is not what was committed to.",
    "DeadlineAhead": "Others still have time. Try again after that time.",
    "DeadlinePassed": "The deadline has passed, so this is too late.",
    "EarlierRoundFirst": "Attest the earlier rounds first: rescind audit submit-round.",
    "NoContributor": "No member may contribute now: see rescind audit members.",
    "NotAggregator": "Only the aggregator can do this. Use the aggregator's keystore.",
    "NotRevealed": "The round is not revealed yet: see rescind audit waits.",
    "NothingCommitted": "The organization committed to nothing in this round.",
    "PointSeenBefore": "A point can be registered only once. Register a contribution of your own.",
    "ReplayUnderWay": "No round opens before the replay is over: see rescind audit replays.",
    "RoundUnfinished": _ROUND_FIRST,
    "ScoreTooHigh": "A score is at most 10,000.",
    "StaleParent": _FOLD_FIRST,
    "TooManyRounds": "The agreed number of rounds is used up.",
    "UnaccountedFor": "Accept or reject each contribution that was revealed.",
    "WrongPartCount": "Register as many parts as agreed.",
    "WrongState": "Its state does not allow this: see rescind audit waits.",
    # Points
    "Infinity": "The point at infinity commits to nothing. Contribute a delta that is not zero.",
    "NoPrecompile": "The chain lacks BLS12-381 (EIP-2537). Use a chain that has it.",
    "NotOnCurve": "It is not a point of BLS12-381 G1.",
    "WrongLength": "A point has 128 bytes.",
    # Models
    "IsHead": "The newest model is always in use.",
    "IsStale": "The model lacks a withdrawal's change. Fold first: rescind withdraw fold.",
    "NotAttested": "A quorum of auditors must attest the rounds first: rescind audit submit-round.",
    "NotContributed": "The member has no contribution of its own in that round.",
    "NotInUse": "rescind audit models shows the models in use.",
    "NothingToFold": "The model lacks nothing.",
    "SumComplete": "The sum is complete already.",
    "SumMissing": "The points of the round must be summed first: rescind withdraw fold.",
    "TooManyInUse": "Retire a model that is not served any more: rescind aggregator retire.",
    "TooManyPoints": "The piece has more points than are missing. Read the chain again.",
    "UnknownModel": "rescind audit models shows the models.",
    "WrongPoint": "Another piece may have come first. Read the chain again.",
    # Withdrawals and replays
    "AlreadyOpen": "The organization has a withdrawal open. It can be turned into its removal.",
    "NotAmended": "The model lacks the withdrawal's change. Attest its successor.",
    "NotExpected": "The replay does not wait for the organization in this round.",
    "NotFolded": "A model in use lacks the withdrawal's change. Fold first: rescind withdraw fold.",
    "NotOrganization": "Only the organization whose withdrawal it is can do this.",
    "NotOverdue": "The withdrawal is not late. Try again after that time.",
    "NotReplayed": "Its replay is not over: see rescind audit replays.",
    "NothingOffered": "Your node offers what the withdrawal needs. Leave it running.",
    "NothingQueued": "No withdrawal waits for a replay.",
    "NothingToPay": "This costs nothing. Send no ether with it.",
    "NoReplay": "No replay is running: see rescind audit replays.",
    "OfferMissing": "Your node offers what the withdrawal needs. Leave it running.",
    "OfferedBefore": "The organization has offered for this round already.",
    "ReplayRunning": "A replay is running. Wait for its end: see rescind audit replays.",
    "RoundInFlight": _ROUND_FIRST,
    "StaleHead": _FOLD_FIRST,
    "TooManyQueued": "Start the replay that others wait for first: rescind withdraw start-replay.",
    "WrongMethod": "This method does not fit the request, or not this consortium.",
    "WrongPrice": "Pay the price of the rounds that others train again.",
    "WrongRound": "The replay is at another round: see rescind audit replays.",
    # Attestations
    "NotAuditor": "rescind audit members shows the auditors.",
    "QuorumMissing": "More auditors must sign.",
    "SignersNotAscending": "Give the signatures ascending by signer, each once.",
    # Rewards and anchors
    "BudgetShrunk": "Privacy that was spent stays spent. State at least as much as before.",
    "ClaimedBefore": "This reward was claimed already.",
    "Forked": "Another root is anchored for this size: your ledger's past was changed.",
    "NotScored": "The organization has no share of this round's reward.",
    "Shrunk": "More records are anchored than your ledger has. Restore the newest backup.",
    "StillUnderWay": "Members are active, or the exit delay after the last one left is not over.",
    # Deployment and calls among the contracts
    "NotModels": _INTERNAL,
    "NotReplays": _INTERNAL,
    "NotRounds": _INTERNAL,
    "NotWithdrawals": _INTERNAL,
    "WrongSettings": _SETTINGS,
    "WrongTerms": _SETTINGS,
    "WrongThreshold": _SETTINGS,
}
"""Advice on each of the contracts' errors, by its name."""

_MOMENT = "uint40"
"""The contracts' type of moments, in Unix seconds."""
_LISTS: dict[str, list[Enum]] = {
    "enum IMembers.Status": list(MemberStatus),
    "enum IRounds.State": list(RoundState),
    "enum IWithdrawals.Method": list(WithdrawalMethod),
    "enum IWithdrawals.State": list(WithdrawalState),
}
"""Members of the contracts' enumerations, by type, in the order of their numbers."""


def refusal(name: str, arguments: dict[str, tuple[str, Any]]) -> str:
    """Return a contract's error as text, with advice.

    Args:
        name: The error.
        arguments: Type in Solidity and value of each argument, by name.
    """
    shown = ", ".join(f"{key} {_shown(*typed)}" for key, typed in arguments.items())
    advice = ADVICE.get(name)
    return f"{name}({shown})" + (f". {advice}" if advice else "")


def _shown(type_: str, value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if type_ == _MOMENT and 0 < value < 2**38:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if type_ in _LISTS and value < len(_LISTS[type_]):
        return str(_LISTS[type_][value].value)
    return str(value)
