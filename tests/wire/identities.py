"""TLS identities for tests: of an organization, of a daemon, and with any dates."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from rescind.core import write_private
from rescind.wire import CertificateAuthority, Enrolment, TlsFiles
from rescind.wire.authority import build_certificate, pem_of
from rescind.wire.keys import generate_key, key_pem
from rescind.wire.names import parse_host, subject

HOSTS = ("localhost", "127.0.0.1")
BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])


def enrolled(
    folder: Path,
    authority: CertificateAuthority,
    name: str = "hospital",
    hosts: Sequence[str] = HOSTS,
    *,
    daemon: bool = False,
) -> Enrolment:
    """Return an organization that the authority certified."""
    enrolment = Enrolment.in_folder(folder)
    request = enrolment.request(name, hosts, daemon=daemon)
    enrolment.accept(authority.issue(request), authority.pem)
    return enrolment


def days(first: float, last: float) -> tuple[datetime.datetime, datetime.datetime]:
    """Return a span of days from now; negative days are past."""
    now = datetime.datetime.now(datetime.UTC)
    return now + datetime.timedelta(days=first), now + datetime.timedelta(days=last)


@dataclass
class Dated:
    """An authority whose certificates have any dates."""

    folder: Path
    span: tuple[datetime.datetime, datetime.datetime]

    def __post_init__(self) -> None:
        self.key, self.name = generate_key(), subject("dated authority")
        self.certificate = build_certificate(
            self.name, self.name, self.key.public_key(), self.key, self.span, (), issues=1
        )

    def identity(
        self,
        name: str,
        span: tuple[datetime.datetime, datetime.datetime],
        organization: tuple[datetime.datetime, datetime.datetime] | None = None,
    ) -> TlsFiles:
        """Write an identity; with dates for an organization, it has an organization certificate."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        issuer, signer, chain = self.name, self.key, b""
        if organization is not None:
            signer, issuer = generate_key(), subject(f"{name} organization")
            certificate = build_certificate(
                issuer, self.name, signer.public_key(), self.key, organization, (), issues=0
            )
            chain = pem_of(certificate)
        key = generate_key()
        names = x509.SubjectAlternativeName([parse_host(host) for host in HOSTS])
        leaf = build_certificate(
            subject(name), issuer, key.public_key(), signer, span, [(BOTH, False), (names, False)]
        )
        write_private(folder / "key.pem", key_pem(key))
        (folder / "certificate.pem").write_bytes(pem_of(leaf) + chain)
        (folder / "authority.pem").write_bytes(pem_of(self.certificate))
        return TlsFiles.in_folder(folder)
