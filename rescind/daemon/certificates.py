"""The life of a daemon's certificate: how long it lasts, and how the next one is put into use."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from rescind.contracts import Consortium
from rescind.core.errors import RescindError
from rescind.daemon.identity import certificate_claim, certificate_owners
from rescind.wire import CertificateProblem, Enrolment, TlsFiles, Validity, fingerprint
from rescind.wire.validity import utc_now

RENEWAL_DAYS = 30
"""Days before its end from which on a daemon renews its certificate by itself, if it can."""

_LOOK_SECONDS = 3600.0
_WARN_SECONDS = 86_400.0


def renew_certificate(
    consortium: Consortium, tls: TlsFiles, *, compromised: bool = False
) -> dict[str, object]:
    """Replace a daemon's certificate, and its fingerprint on chain.

    1. A new key and certificate are staged, unless some wait already.
    2. Their fingerprint is registered on chain, signed by the new key.
    3. They are installed. Daemons that run take them up from the files.

    Each step may be repeated after a crash without harm.

    Args:
        consortium: The contracts, called with the daemon's account.
        tls: The daemon's files.
        compromised: Register twice. Others accept a certificate for some minutes after the next one
            was registered, so that calls go on; then they refuse the old one at once.

    Returns:
        "fingerprint", "replaced" (the one before), "transaction" and "expires".

    Raises:
        CertificateProblem: There is none to install and none can be issued.
        ContractRefused: The account is neither a member nor the aggregator.
    """
    enrolment = Enrolment(tls)
    if not enrolment.is_staged:
        enrolment.renew()
    owner = consortium.account.address if consortium.account else ""
    own, proof = certificate_claim(consortium.deployment, owner, enrolment.staged)
    replaced, transaction = consortium.fingerprint(owner), None
    if replaced != own:
        transaction = consortium.set_fingerprint(own, proof).tx_hash
    if compromised:
        transaction = consortium.set_fingerprint(own, proof).tx_hash
    enrolment.install()
    expires = tls.check()[0].expires
    return {
        "fingerprint": own,
        "replaced": replaced,
        "transaction": transaction,
        "expires": f"{expires:%Y-%m-%d}",
    }


def check_certificates(tls: TlsFiles, *, serves: bool) -> None:
    """Check a daemon's certificates before it starts.

    Args:
        tls: The daemon's files.
        serves: Whether the daemon serves others.

    Raises:
        CertificateProblem: They do not belong together, or one is not valid now.
    """
    Enrolment(tls).resume()
    tls.check(serves=serves)


def finish_renewal(consortium: Consortium, tls: TlsFiles, owner: str) -> None:
    """Install a staged certificate that is on chain already: a renewal that was cut short."""
    enrolment = Enrolment(tls)
    if enrolment.is_staged and owner in certificate_owners(consortium, enrolment.staged.read()[1]):
        enrolment.install()


def certificate_status(tls: TlsFiles) -> list[dict[str, object]]:
    """Return for each certificate that a daemon depends on when it ends, for its status."""
    now = utc_now()
    try:
        validities = tls.check()
    except CertificateProblem as error:
        return [{"file": str(tls.certificate), "warning": str(error)}]
    return [
        {
            "certificate": f"{validity.kind} of {validity.holder}",
            "file": str(validity.file),
            "expires": f"{validity.expires:%Y-%m-%d}",
            "days_left": validity.days_left(now),
            "warning": validity.warning(now),
        }
        for validity in validities
    ]


class CertificateWatch:
    """Warns of certificates that end, and renews the daemon's own where its organization can.

    Args:
        tls: The daemon's files.
        renew: Renews the certificate.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        tls: TlsFiles,
        renew: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls, self._renew, self._clock = tls, renew, clock
        self._looked, self._warned = -_LOOK_SECONDS, -_WARN_SECONDS

    def look(self) -> None:
        """Look once an hour, and log warnings once a day; what fails is logged as well."""
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            self._look(now)
        except (RescindError, OSError) as error:
            structlog.get_logger().error("certificate trouble", reason=str(error))

    def _look(self, now: float) -> None:
        validities = self._tls.check()
        own, log = validities[0], structlog.get_logger()
        if own.days_left(utc_now()) < RENEWAL_DAYS and self._can_renew(validities):
            self._renew()
            log.info("certificate renewed", fingerprint=fingerprint(self._tls.read()[1]))
            validities = self._tls.check()
        if now - self._warned >= _WARN_SECONDS:
            self._warned = now
            for warning in filter(None, (each.warning(utc_now()) for each in validities)):
                log.warning("certificate ends soon", reason=warning)

    def _can_renew(self, validities: list[Validity]) -> bool:
        """Return whether a certificate that lasts longer can be issued, or waits already."""
        enrolment = Enrolment(self._tls)
        if enrolment.is_staged:
            return True
        issuers = validities[1:]
        lasts = min(each.days_left(utc_now()) for each in issuers)
        return enrolment.renews_itself and lasts >= RENEWAL_DAYS
