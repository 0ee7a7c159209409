"""Compare a server's certificate with the claim of its organization on chain.

A certificate of the consortium's authority is not enough: anyone who holds the authority's key, or a
member on the path, could stand in for the server.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rescind.contracts import ConsortiumReader, MemberStatus
from rescind.core.errors import WireError
from rescind.daemon.identity import certificate_owners
from rescind.wire import fingerprint

RECHECK_SECONDS = 1.0
"""Time for which an answer counts without a question to the chain."""


class NotTheAggregator(WireError):
    """The server that a node was told to use is not the consortium's aggregator."""

    code = "not-the-aggregator"


class NotTheOrganization(WireError):
    """A server is not the node of the organization that it should be."""

    code = "not-the-organization"


class ServerCheck:
    """A check that the client makes before it connects, and again before each call.

    The chain is asked again once there is a new block, so that a server that was replaced receives
    nothing more, not even the rest of an upload.

    Args:
        reader: The public record.
        check: Raises a WireError unless a certificate is the server's.
        seconds: Time for which an answer counts without a question to the chain.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        reader: ConsortiumReader,
        check: Callable[[ConsortiumReader, bytes], None],
        *,
        seconds: float = RECHECK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader, self._check, self._seconds, self._clock = reader, check, seconds, clock
        self._accepted, self._block, self._at = b"", -1, 0.0

    def __call__(self, certificate: bytes) -> None:
        """Check a certificate (PEM).

        Raises:
            WireError: It is not the server's.
        """
        now = self._clock()
        known = certificate == self._accepted
        if known and now - self._at < self._seconds:
            return
        block = self._reader.chain.final_block_number()
        if not known or block != self._block:
            self._accepted = b""
            self._check(self._reader, certificate)
        self._accepted, self._block, self._at = certificate, block, now


def check_aggregator(reader: ConsortiumReader, certificate: bytes) -> None:
    """Check that a certificate is the aggregator's: that it registered it with the key's proof.

    Args:
        reader: The public record.
        certificate: The certificate that the server presents, in PEM.

    Raises:
        NotTheAggregator: It is not.
    """
    aggregator = reader.aggregator()
    if not aggregator or aggregator not in certificate_owners(reader, certificate):
        raise NotTheAggregator(
            f"the server presents a certificate with fingerprint {fingerprint(certificate)}, which "
            f"the consortium's aggregator {aggregator or '(none)'} has not registered on chain: "
            "nothing is sent to it. Set aggregator.address to the aggregator that the members chose."
        )


def organization_check(organization: str) -> Callable[[ConsortiumReader, bytes], None]:
    """Return the check that a server is the node of one organization.

    Args:
        organization: Its address.
    """

    def check(reader: ConsortiumReader, certificate: bytes) -> None:
        if organization not in certificate_owners(reader, certificate):
            raise NotTheOrganization(
                f"the server presents a certificate with fingerprint {fingerprint(certificate)}, "
                f"which {organization} has not registered on chain: nothing is sent to it. Check "
                "the address of its node with the organization."
            )

    return check


def check_active_member(reader: ConsortiumReader, certificate: bytes) -> None:
    """Check that a server is the node of an active member, such as a witness.

    Raises:
        NotTheOrganization: It is not.
    """
    owners = certificate_owners(reader, certificate)
    if not any(reader.member(owner).status is MemberStatus.ACTIVE for owner in owners):
        raise NotTheOrganization(
            f"the server presents a certificate with fingerprint {fingerprint(certificate)}, which "
            "no active member has registered on chain: nothing is sent to it. Check the address of "
            "the witness with its organization."
        )
