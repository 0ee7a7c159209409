"""Errors on the wire, and how they travel.

A `RescindError` that a handler raises reaches the caller as an error of the same class: its code
goes in the trailing metadata. Any other exception is logged by the server, and the caller learns
only that there was an internal error.
"""

from __future__ import annotations

import grpc

from rescind.core import StoreFull
from rescind.core.errors import RescindError, WireError

CODE_KEY = "rescind-error-code"
"""Key of the error code in the trailing metadata."""


class AggregatorUnavailable(WireError):
    """The aggregator does not answer."""

    code = "aggregator-unavailable"


class NodeUnavailable(WireError):
    """Another organization's node does not answer."""

    code = "node-unavailable"


class NotAnAuditor(WireError):
    """The caller is not named as an auditor on chain."""

    code = "not-an-auditor"


class NotDisclosed(WireError):
    """The organization does not show a record of its ledger, or not yet."""

    code = "not-disclosed"


class NotAMember(WireError):
    """The caller's certificate does not belong to a member on chain."""

    code = "not-a-member"


class WrongPhase(WireError):
    """The call does not fit the state of the round or withdrawal."""

    code = "wrong-phase"


class NotPublished(WireError):
    """An artifact is not available to members, or not yet."""

    code = "not-published"


class NotHeld(WireError):
    """The aggregator does not keep the artifact that a piece is to be copied from."""

    code = "not-held"


class BadSignature(WireError):
    """A signature is not valid, or another key made it."""

    code = "bad-signature"


class ReusedNonce(WireError):
    """A nonce was used before, or is lower than one that was."""

    code = "reused-nonce"


class BadMessage(WireError):
    """A message breaks the protocol."""

    code = "bad-message"


class DeltaRefused(WireError):
    """A delta for a withdrawal, or its report, fails the checks."""

    code = "delta-refused"


class StatisticsRefused(WireError):
    """Posted statistics are not those that the consortium agreed to post."""

    code = "statistics-refused"


class TooManyUploads(WireError):
    """The organization has too many uploads in progress."""

    code = "too-many-uploads"


class TooManyCalls(WireError):
    """The caller has too many calls open, or begins too many. Wait and try again."""

    code = "too-many-calls"


class TransferGivenUp(WireError):
    """A transfer was given up, because something else had to be done in time. It can go on later."""

    code = "transfer-given-up"


class WrongHash(WireError):
    """Bytes do not hash to the id that names them."""

    code = "wrong-hash"


class CertificateProblem(WireError):
    """A certificate, key or signing request cannot be used."""

    code = "certificate"


STATUS: dict[type[RescindError], grpc.StatusCode] = {
    NotAMember: grpc.StatusCode.PERMISSION_DENIED,
    NotAnAuditor: grpc.StatusCode.PERMISSION_DENIED,
    NotDisclosed: grpc.StatusCode.FAILED_PRECONDITION,
    BadSignature: grpc.StatusCode.PERMISSION_DENIED,
    WrongPhase: grpc.StatusCode.FAILED_PRECONDITION,
    NotPublished: grpc.StatusCode.NOT_FOUND,
    NotHeld: grpc.StatusCode.NOT_FOUND,
    ReusedNonce: grpc.StatusCode.ALREADY_EXISTS,
    TooManyUploads: grpc.StatusCode.RESOURCE_EXHAUSTED,
    TooManyCalls: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StoreFull: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""The gRPC status of each error class; INVALID_ARGUMENT for all others."""


def status_of(error: RescindError) -> grpc.StatusCode:
    """Return the gRPC status of an error."""
    return STATUS.get(type(error), grpc.StatusCode.INVALID_ARGUMENT)


def class_of(code: str) -> type[RescindError]:
    """Return the error class with a code, or WireError if this version does not know the code."""
    pending: list[type[RescindError]] = [RescindError]
    while pending:
        candidate = pending.pop()
        if candidate.code == code:
            return candidate
        pending += candidate.__subclasses__()
    return WireError
