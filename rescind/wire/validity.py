"""Checks of a daemon's own TLS files before it uses them, and how long they last."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from rescind.wire.errors import CertificateProblem
from rescind.wire.keys import UNREADABLE, check_key, load_key, readable
from rescind.wire.names import common_name

WARNING_DAYS = 60
"""Days before its end from which on a certificate is warned of."""

_RENEW = {
    "certificate": "Renew it with rescind org renew.",
    "organization certificate": (
        "Make a request with rescind org request, have it signed, and take the answer with "
        "rescind org accept."
    ),
    "authority": (
        "The founder makes another authority, and everyone changes to it: docs/deploy.md, "
        "Certificates."
    ),
}


class CertificateExpired(CertificateProblem):
    """A certificate is not valid any more, or not yet."""

    code = "certificate-expired"


@dataclass(frozen=True)
class Validity:
    """How long a certificate lasts.

    Attributes:
        file: The file that holds it.
        kind: "certificate", "organization certificate" or "authority".
        holder: Its common name.
        begins: Its first moment.
        expires: Its last moment.
    """

    file: Path
    kind: str
    holder: str
    begins: datetime.datetime
    expires: datetime.datetime

    def check(self, now: datetime.datetime) -> None:
        """Check that the certificate is valid.

        Raises:
            CertificateExpired: It is not.
        """
        name = f"the {self.kind} of {self.holder!r} in {self.file}"
        if now > self.expires:
            raise CertificateExpired(
                f"{name} expired on {self.expires:%Y-%m-%d}. {_RENEW[self.kind]}"
            )
        if now < self.begins:
            raise CertificateExpired(
                f"{name} is valid from {self.begins:%Y-%m-%d %H:%M} UTC on, and this machine's clock "
                f"says {now:%Y-%m-%d %H:%M}. Set the clock."
            )

    def days_left(self, now: datetime.datetime) -> int:
        """Return the whole days until the certificate expires."""
        return (self.expires - now).days

    def warning(self, now: datetime.datetime) -> str:
        """Return a sentence from WARNING_DAYS before the end on, and "" before."""
        days = self.days_left(now)
        if days >= WARNING_DAYS:
            return ""
        return (
            f"the {self.kind} of {self.holder!r} in {self.file} expires on "
            f"{self.expires:%Y-%m-%d}, in {days} days. {_RENEW[self.kind]}"
        )


def utc_now() -> datetime.datetime:
    """Return the time of this machine's clock."""
    return datetime.datetime.now(datetime.UTC)


def check_identity(
    files: tuple[Path, Path, Path],
    contents: tuple[bytes, bytes, bytes],
    *,
    serves: bool = False,
    now: datetime.datetime | None = None,
) -> list[Validity]:
    """Check that key, certificate and authority belong together and are valid now.

    Args:
        files: Paths of the three, for messages.
        contents: Their contents in PEM. The certificate may be followed by that of its organization,
            and the authority's file may hold several authorities.
        serves: Whether the daemon serves others, so that its certificate must be for servers.
        now: The time, by default this machine's.

    Returns:
        How long each certificate lasts that this daemon depends on.

    Raises:
        CertificateProblem: They do not belong together.
        CertificateExpired: One is not valid now.
    """
    now = now or utc_now()
    chain = read_certificates(contents[1], files[1])
    roots = read_certificates(contents[2], files[2])
    key = load_key(contents[0], str(files[0]))
    check_key(key.public_key())
    if key.public_key() != chain[0].public_key():
        raise CertificateProblem(
            f"the key {files[0]} does not belong to the certificate {files[1]}. Use the key that the "
            "certificate was requested with, or renew with rescind org renew."
        )
    root = _root_of(chain, roots, files)
    kinds = ["certificate", *["organization certificate"] * (len(chain) - 1)]
    validities = [_validity(each, files[1], kind) for each, kind in zip(chain, kinds, strict=True)]
    validities.append(_validity(root, files[2], "authority"))
    # From the authority down: an expired issuer cannot renew what is below it.
    for validity in reversed(validities):
        validity.check(now)
    if serves and not _is_for(chain[0], ExtendedKeyUsageOID.SERVER_AUTH):
        raise CertificateProblem(
            f"the certificate {files[1]} is not for a server, and this daemon serves others. Make a "
            "request that names its hosts: rescind org request --serve HOST."
        )
    return validities


def read_certificates(content: bytes, file: Path) -> list[x509.Certificate]:
    """Return the certificates in a file, in its order.

    Raises:
        CertificateProblem: There is none.
    """
    try:
        return [readable(each) for each in x509.load_pem_x509_certificates(content)]
    except UNREADABLE as error:
        raise CertificateProblem(f"{file} holds no certificate in PEM") from error


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether one certificate issued another, as far as name and signature say."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def _root_of(
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    files: tuple[Path, Path, Path],
) -> x509.Certificate:
    """Return the authority that a chain leads to."""
    for certificate, issuer in pairwise(chain):
        if not is_issued_by(certificate, issuer):
            raise CertificateProblem(
                f"the certificates in {files[1]} are not a chain: {common_name(issuer.subject)!r} "
                f"did not issue that of {common_name(certificate.subject)!r}. Renew with rescind "
                "org renew."
            )
    issuers = [root for root in roots if is_issued_by(chain[-1], root)]
    if issuers:
        # Of two certificates of one authority, the longer one counts.
        return max(issuers, key=lambda root: root.not_valid_after_utc)
    names = ", ".join(repr(common_name(root.subject)) for root in roots)
    raise CertificateProblem(
        f"the certificate {files[1]} was issued by {common_name(chain[-1].issuer)!r}, and the "
        f"authority {files[2]} is {names} with another key. Use the authority that signed your "
        "request, or have a request signed by this one."
    )


def _validity(certificate: x509.Certificate, file: Path, kind: str) -> Validity:
    return Validity(
        file,
        kind,
        common_name(certificate.subject),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _is_for(certificate: x509.Certificate, usage: x509.ObjectIdentifier) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return usage in usages
