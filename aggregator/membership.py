"""The organizations that the aggregator serves: active members, and others as far as the models need.

| status | served |
|---|---|
| active | every call |
| left | GetWanted, HandOver and the upload of what it hands over: models in use hold its contributions |
| left or withdrawing, with an open withdrawal that is not a removal | and what that needs |
| withdrawn by counter-training | hand-over, while contributions are missing that models in use hold |
| withdrawn, or withdrawing by a removal | nothing |
| none, admitted | nothing |
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from rescind.aggregator.incidents import STRANGER
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import MemberStatus, WithdrawalMethod, WithdrawalState
from rescind.daemon import certificate_owners
from rescind.wire import Admission, NotAMember, fingerprint

_UPLOAD = frozenset({"BeginUpload", "PutPiece", "CopyPiece"})

HAND_OVER = _UPLOAD | {"GetWanted", "HandOver"}
"""Calls with which an organization hands contributions over that models in use hold."""

WITHDRAW = HAND_OVER | {
    "Describe",
    "GetModel",
    "GetPiece",
    "GetFisher",
    "SubmitOffered",
    "GetReplayStart",
    "GetRoundSums",
    "GetReplaySums",
}
"""Calls that an open withdrawal needs, other than a removal, which needs none."""

_OVER = (WithdrawalState.NONE, WithdrawalState.CLOSED)
_REMEMBERED = 256
"""Certificates whose admission is remembered, all for one block."""


class Membership:
    """Admits callers by their certificate and their status on chain.

    An answer is remembered for the block that it was found at, and for no longer: a member that has
    joined is served from the next block on, and one that is out is not.

    Args:
        session: The aggregator's session.
        wanted: Returns the contributions of an organization that are needed and missing here.
    """

    def __init__(self, session: AggregatorSession, wanted: Callable[[str], Sequence[str]]) -> None:
        self._session, self._wanted = session, wanted
        self._lock = threading.Lock()
        self._block = -1
        self._known: dict[str, Admission | NotAMember] = {}

    def admit(self, certificate: bytes) -> Admission:
        """Return who a caller is and what it may call; a refusal is an incident.

        A claim on chain counts only if the certificate's key signed it.

        Raises:
            NotAMember: The certificate belongs to no organization that is served.
        """
        block = self._session.consortium.chain.final_block_number()
        name = fingerprint(certificate)
        with self._lock:
            if block != self._block:
                self._block, self._known = block, {}
            answer = self._known.get(name)
        if answer is None:
            answer = self._look_up(certificate)
            with self._lock:
                if block == self._block and len(self._known) < _REMEMBERED:
                    self._known[name] = answer
        if isinstance(answer, NotAMember):
            raise NotAMember(str(answer))
        return answer

    def _look_up(self, certificate: bytes) -> Admission | NotAMember:
        consortium = self._session.consortium
        refused, organization = "", STRANGER
        for owner in certificate_owners(consortium, certificate):
            status = consortium.member(owner).status
            calls = self._calls(owner, status)
            if calls is None or calls:
                return Admission(owner, calls, f"it is {status.value}, and served only for {_WHY}")
            refused, organization = f"{owner} is {status.value}. {_REASONS[status]}", owner
        reason = refused or (
            f"the certificate with fingerprint {fingerprint(certificate)} does not belong to a "
            "member on chain"
        )
        error = NotAMember(reason)
        self._session.record_incident(organization, error.code, reason)
        return error

    def _calls(self, owner: str, status: MemberStatus) -> frozenset[str] | None:
        """Return the calls that a status allows; None for all."""
        if status is MemberStatus.ACTIVE:
            return None
        if not status.joined:
            return frozenset()
        if status is not MemberStatus.WITHDRAWN and self._prepares(owner):
            return WITHDRAW
        # Models in use hold what an organization contributed before it left or was counter-trained.
        if status is MemberStatus.LEFT:
            return HAND_OVER
        was_counter_trained = status is MemberStatus.WITHDRAWN and self._wanted(owner)
        return HAND_OVER if was_counter_trained else frozenset()

    def _prepares(self, owner: str) -> bool:
        """Return whether an organization has an open withdrawal that needs deltas of it."""
        return any(
            each.organization == owner
            and each.state not in _OVER
            and each.method is not WithdrawalMethod.REMOVAL
            for each in self._session.consortium.withdrawals()
        )


_WHY = "what the models in use and its open withdrawal need"

_REASONS = {
    MemberStatus.NONE: "The members must admit it first.",
    MemberStatus.ADMITTED: "It is served once it has paid its bond: start its node.",
    MemberStatus.WITHDRAWING: "Its removal needs nothing from the aggregator.",
    MemberStatus.WITHDRAWN: "No model in use holds contributions of it that are missing.",
}
"""The reason for each status in which nothing is served."""
