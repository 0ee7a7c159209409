"""A consortium's certificate authority, and the certificate of an organization under it.

The authority certifies a daemon's key, or an organization. An organization certificate issues the
certificates of its organization's own daemons and of no one else: its name constraints permit the
hosts that the authority confirmed. So an organization renews without anyone else's doing.
"""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from rescind.core import make_private_folder, write_atomically, write_private
from rescind.wire.errors import CertificateProblem
from rescind.wire.keys import UNREADABLE, TlsKey, generate_key, key_pem, load_key, readable
from rescind.wire.names import Host, common_name, parse_host, subject
from rescind.wire.signing_requests import SigningRequest

_ONE_DAY = datetime.timedelta(days=1)
AUTHORITY_DAYS = 10 * 365
ORGANIZATION_DAYS = 5 * 365
DAEMON_DAYS = 2 * 365
LEAST_DAYS = 30
"""A certificate that would last less is not issued: its issuer is about to expire."""

_NO_HOST = "rescind.invalid"
"""Below it lies the name of an organization that serves nothing. gRPC takes no certificate without
a name from an issuer with name constraints. RFC 2606 reserves the domain."""

_EVERY_IP = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


@dataclass(frozen=True)
class Holder:
    """The holder of a certificate.

    Attributes:
        name: Name of the organization.
        hosts: The hosts at which it is reached; empty if it only calls others.
    """

    name: str
    hosts: tuple[Host, ...] = ()

    @classmethod
    def of(cls, name: str, hosts: Sequence[str] = ()) -> Self:
        """Return a holder from text.

        Raises:
            CertificateProblem: A host is not a host name or an IP address.
        """
        return cls(name, tuple(dict.fromkeys(parse_host(host) for host in hosts)))

    def facts(self) -> dict[str, object]:
        """Return what the signer must know."""
        serves = ", ".join(str(host.value) for host in self.hosts)
        return {"name": self.name, "serves": serves or "nothing, it only calls others"}

    @property
    def usages(self) -> x509.ExtendedKeyUsage:
        """Client of TLS, and server if it is reached anywhere."""
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        return x509.ExtendedKeyUsage(
            [*usages, ExtendedKeyUsageOID.SERVER_AUTH] if self.hosts else usages
        )


class Issuer:
    """A certificate that issues others, with its key."""

    def __init__(self, key: TlsKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @property
    def certificate(self) -> x509.Certificate:
        """The issuer's own certificate."""
        return self._certificate

    @property
    def pem(self) -> bytes:
        """The issuer's own certificate in PEM."""
        return pem_of(self._certificate)

    @classmethod
    def read(cls, key: Path, certificate: Path, what: str) -> Self:
        """Read a key and its certificate.

        Args:
            key: The key's file.
            certificate: The certificate's file.
            what: What they are, for error messages.

        Raises:
            CertificateProblem: A file cannot be read, or they do not belong together.
        """
        try:
            loaded = load_key(key.read_bytes(), str(key))
            parsed = readable(x509.load_pem_x509_certificate(certificate.read_bytes()))
            belongs = loaded.public_key() == parsed.public_key()
        except OSError as error:
            raise CertificateProblem(
                f"{key.parent} holds no {what}: {Path(str(error.filename)).name} cannot be read "
                f"({error.strerror})"
            ) from error
        except UNREADABLE as error:
            raise CertificateProblem(f"{certificate} is not a certificate in PEM") from error
        if not belongs:
            raise CertificateProblem(f"the key {key} does not belong to {certificate}")
        return cls(loaded, parsed)

    def _sign(
        self,
        holder: x509.Name,
        key: Any,
        days: int,
        extensions: Sequence[tuple[x509.ExtensionType, bool]],
        *,
        issues: int | None = None,
    ) -> x509.Certificate:
        """Return a certificate that lasts `days`, but not longer than its issuer.

        Args:
            holder: The subject.
            key: The public key.
            days: Validity.
            extensions: More extensions, each with whether it is critical.
            issues: For a certificate that issues others, how many issuers may follow it.
        """
        now = datetime.datetime.now(datetime.UTC)
        end = min(now + days * _ONE_DAY, self._certificate.not_valid_after_utc)
        if end < now + LEAST_DAYS * _ONE_DAY:
            raise CertificateProblem(
                f"{common_name(self._certificate.subject)!r} expires on {end:%Y-%m-%d}, so it "
                "issues nothing any more. Renew it first: docs/deploy.md, Certificates."
            )
        return build_certificate(
            holder, self._certificate.subject, key, self._key, (now - _ONE_DAY, end), extensions,
            issues=issues,
        )  # fmt: skip

    def _certify_daemon(self, holder: Holder, key: Any, names: Sequence[Host]) -> bytes:
        extensions: list[tuple[x509.ExtensionType, bool]] = [(holder.usages, False)]
        if names:
            extensions.append((x509.SubjectAlternativeName(names), False))
        return pem_of(self._sign(subject(holder.name), key, DAEMON_DAYS, extensions))


class CertificateAuthority(Issuer):
    """A consortium's own certificate authority: `authority.key` and `authority.pem` in a folder."""

    @classmethod
    def create(cls, folder: Path, name: str) -> Self:
        """Create an authority in a folder: both files, or on an error neither.

        Args:
            folder: Where to write `authority.key` and `authority.pem`: a new folder or an empty one.
            name: Common name of the authority.

        Raises:
            FileExistsError: The folder is not empty.
        """
        if folder.exists() and any(folder.iterdir()):
            raise FileExistsError(17, "the folder is not empty", str(folder))
        key, holder = generate_key(), subject(name)
        now = datetime.datetime.now(datetime.UTC)
        span = (now - _ONE_DAY, now + AUTHORITY_DAYS * _ONE_DAY)
        certificate = build_certificate(holder, holder, key.public_key(), key, span, (), issues=1)
        make_private_folder(folder.parent)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            write_private(made / "authority.key", key_pem(key))
            write_atomically(made / "authority.pem", pem_of(certificate))
            made.rename(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return cls(key, certificate)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the authority in a folder.

        Raises:
            CertificateProblem: The folder holds no authority.
        """
        names = folder / "authority.key", folder / "authority.pem"
        return cls.read(*names, "certificate authority")

    def issue(self, request: bytes, holder: Holder | None = None) -> bytes:
        """Issue what a request asks for: a daemon's certificate, or an organization's.

        Args:
            request: A certificate signing request in PEM or DER.
            holder: Name and hosts to certify, instead of those in the request.

        Returns:
            The certificate in PEM.

        Raises:
            CertificateProblem: The request cannot be used.
        """
        asked = SigningRequest.parse(request)
        holder = holder or Holder(asked.name, asked.hosts)
        if asked.organization:
            return self._certify_organization(holder, asked.key)
        return self._certify_daemon(holder, asked.key, holder.hosts)

    def _certify_organization(self, holder: Holder, key: Any) -> bytes:
        constraints = self._certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        if constraints.value.path_length == 0:
            raise CertificateProblem(
                f"{common_name(self._certificate.subject)!r} was made by an earlier version and "
                "certifies single daemons only. Ask for such a certificate (rescind org request "
                "--daemon), or change the authority: docs/deploy.md, Certificates."
            )
        names = holder.hosts or (_placeholder(key),)
        hosts = [host for host in names if isinstance(host, x509.DNSName)] or [_placeholder(key)]
        permitted: list[x509.GeneralName] = [x509.DirectoryName(_organization(holder.name)), *hosts]
        # gRPC verifies no constraint on IP addresses: where it meets one it refuses the certificate.
        # So addresses are ruled out for an organization that has none, and left free otherwise.
        has_address = any(isinstance(host, x509.IPAddress) for host in names)
        excluded = None if has_address else [x509.IPAddress(network) for network in _EVERY_IP]
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.NameConstraints(permitted, excluded), True),
            (holder.usages, False),
            (x509.SubjectAlternativeName(names), False),
        ]
        certificate = self._sign(subject(holder.name), key, ORGANIZATION_DAYS, extensions, issues=0)
        return pem_of(certificate)


class OrganizationIssuer(Issuer):
    """The certificate of an organization, with its key: it issues those of its own daemons."""

    @property
    def holder(self) -> Holder:
        """The organization, and the hosts at which it is reached."""
        return Holder(common_name(self._certificate.subject), self._hosts)

    def issue(self, key: Any) -> bytes:
        """Return a daemon's certificate for a public key in PEM, followed by the organization's."""
        names = self._names
        issued = self._certify_daemon(self.holder, key, names)
        return issued + self.pem

    @property
    def _names(self) -> tuple[Host, ...]:
        extension = self._certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return tuple(parse_host(str(name.value)) for name in extension.value)

    @property
    def _hosts(self) -> tuple[Host, ...]:
        usages = self._certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return self._names if ExtendedKeyUsageOID.SERVER_AUTH in usages else ()


def build_certificate(
    holder: x509.Name,
    issuer: x509.Name,
    key: Any,
    signer: TlsKey,
    span: tuple[datetime.datetime, datetime.datetime],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    *,
    issues: int | None = None,
) -> x509.Certificate:
    """Return a certificate.

    Args:
        holder: Its subject.
        issuer: Subject of the certificate that issues it.
        key: Its public key.
        signer: The issuer's private key.
        span: First and last moment of its validity.
        extensions: Extensions, each with whether it is critical, besides those that all have.
        issues: For a certificate that issues others, how many issuers may follow it.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(holder)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.BasicConstraints(issues is not None, issues), critical=True)
        .add_extension(_key_usage(signs_certificates=issues is not None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _organization(name: str) -> x509.Name:
    """Return the part of a subject that certificates of one organization share."""
    return x509.Name(list(subject(name))[:1])


def _placeholder(key: Any) -> x509.DNSName:
    """Return the name of an organization that has no host name: derived from its key."""
    digest = x509.SubjectKeyIdentifier.from_public_key(key).digest
    return x509.DNSName(f"{digest.hex()}.{_NO_HOST}")


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
