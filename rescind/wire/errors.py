"""What can go wrong on the wire, and how it travels.

A RescindError raised by a handler reaches the caller as an error of the same class: its code goes
in the trailing metadata. Anything else is logged by the server and told to nobody.
"""

from __future__ import annotations

import grpc

from rescind.core.errors import RescindError, WireError

CODE_KEY = "rescind-error-code"


class AggregatorUnavailable(WireError):
    code = "aggregator-unavailable"


class NodeUnavailable(WireError):
    code = "node-unavailable"


class NotAnAuditor(WireError):
    code = "not-an-auditor"


class NotDisclosed(WireError):
    """A record of a ledger that its organization does not show, or not yet."""

    code = "not-disclosed"


class NotAMember(WireError):
    code = "not-a-member"


class WrongPhase(WireError):
    code = "wrong-phase"


class NotPublished(WireError):
    code = "not-published"


class BadSignature(WireError):
    code = "bad-signature"


class ReusedNonce(WireError):
    code = "reused-nonce"


class BadMessage(WireError):
    code = "bad-message"


class DeltaRefused(WireError):
    """The bytes of a delta that a withdrawal needs are not what they must be."""

    code = "delta-refused"


class StatisticsRefused(WireError):
    """Statistics of an organization's data are not what the consortium agreed to post."""

    code = "statistics-refused"


class TooManyUploads(WireError):
    code = "too-many-uploads"


class WrongHash(WireError):
    code = "wrong-hash"


class CertificateProblem(WireError):
    code = "certificate"


STATUS: dict[type[RescindError], grpc.StatusCode] = {
    NotAMember: grpc.StatusCode.PERMISSION_DENIED,
    NotAnAuditor: grpc.StatusCode.PERMISSION_DENIED,
    NotDisclosed: grpc.StatusCode.FAILED_PRECONDITION,
    BadSignature: grpc.StatusCode.PERMISSION_DENIED,
    WrongPhase: grpc.StatusCode.FAILED_PRECONDITION,
    NotPublished: grpc.StatusCode.NOT_FOUND,
    ReusedNonce: grpc.StatusCode.ALREADY_EXISTS,
    TooManyUploads: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def status_of(error: RescindError) -> grpc.StatusCode:
    return STATUS.get(type(error), grpc.StatusCode.INVALID_ARGUMENT)


def class_of(code: str) -> type[RescindError]:
    """The error class with this code, or WireError for one this version does not know."""
    pending: list[type[RescindError]] = [RescindError]
    while pending:
        candidate = pending.pop()
        if candidate.code == code:
            return candidate
        pending += candidate.__subclasses__()
    return WireError
