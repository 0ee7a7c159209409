"""A daemon's TLS files, and the certificate that a server presents."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rescind.wire.errors import CertificateProblem
from rescind.wire.keys import UNREADABLE, readable, verifies
from rescind.wire.names import ascii_host, common_name
from rescind.wire.validity import Validity, check_identity, utc_now

_HANDSHAKE_SECONDS = 10

Contents = tuple[bytes, bytes, bytes]
"""A key, its certificate and the authority, in PEM."""


class ServerCertificateRefused(CertificateProblem):
    """A server presents a certificate that is expired, of another authority or of another host."""

    code = "server-certificate"


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files: a private key, its certificate, and the consortium's authority.

    The certificate may be followed by that of its organization, which issued it. The authority's
    file may hold several, while the consortium changes from one to another.
    """

    key: Path
    certificate: Path
    authority: Path

    @classmethod
    def in_folder(cls, folder: Path) -> TlsFiles:
        """Return the files of a folder that `rescind org init` made: `tls` of an identity."""
        return cls(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """The three paths, in the order of the attributes."""
        return self.key, self.certificate, self.authority

    def read(self) -> Contents:
        """Return the content of the three files, in the order of the attributes.

        Raises:
            CertificateProblem: A file cannot be read.
        """
        key, certificate, authority = (_content(path) for path in self.paths)
        return key, certificate, authority

    def read_authority(self) -> bytes:
        """Return the content of the authority's file.

        Raises:
            CertificateProblem: It cannot be read.
        """
        return _content(self.authority)

    def check(self, *, serves: bool = False) -> list[Validity]:
        """Check that the files belong together and are valid now.

        Args:
            serves: Whether the certificate must be for a server.

        Returns:
            How long each certificate lasts that the holder depends on.

        Raises:
            CertificateProblem: A file cannot be read, or they do not belong together.
            CertificateExpired: A certificate is not valid now.
        """
        return check_identity(self.paths, self.read(), serves=serves)

    def problem(self) -> str:
        """Return why no one accepts these files at present, or "" if they are right."""
        try:
            self.check()
        except CertificateProblem as error:
            return str(error)
        return ""


def presented_certificate(address: str, tls: TlsFiles) -> bytes:
    """Return the certificate (PEM) that a server of the consortium's authority presents.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's TLS files.

    Raises:
        ServerCertificateRefused: The certificate is expired, not of the authority, or not for the
            host.
        OSError: The server does not answer.
    """
    context = ssl.create_default_context(cafile=str(tls.authority))
    context.load_cert_chain(tls.certificate, tls.key)
    try:
        presented = _handshake(address, context)
    except ssl.SSLCertVerificationError as error:
        raise ServerCertificateRefused(_refusal(address, error)) from error
    return ssl.DER_cert_to_PEM_cert(presented).encode()


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form, hexadecimal.

    Args:
        certificate: The certificate in PEM or DER; of several in PEM the first counts.

    Raises:
        CertificateProblem: The bytes are not a certificate.
    """
    parsed = _parsed(certificate)
    return hashlib.sha256(parsed.public_bytes(serialization.Encoding.DER)).hexdigest()


def is_signed_by(certificate: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the key of a certificate made a signature, as `sign_with_key` does.

    Args:
        certificate: The certificate in PEM or DER.
        message: The signed message.
        signature: The signature.

    Raises:
        CertificateProblem: The bytes are not a certificate.
    """
    try:
        key = _parsed(certificate).public_key()
    except UNREADABLE as error:
        raise CertificateProblem(f"the certificate's key cannot be read: {error}") from error
    return verifies(key, message, signature)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateProblem(f"cannot read {path}: {error.strerror}") from error


def _handshake(address: str, context: ssl.SSLContext) -> bytes:
    """Return the certificate (DER) that a server presents."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    host = host if host.isascii() else ascii_host(host)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=_HANDSHAKE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        presented = secured.getpeercert(binary_form=True)
    # The handshake fails without a certificate of the server.
    assert presented is not None
    return presented


def _refusal(address: str, error: ssl.SSLCertVerificationError) -> str:
    """Return why a server's certificate is refused, with its name and dates if it shows them."""
    reason = f"the server at {address} presents a certificate that is refused: "
    reason += error.verify_message or str(error)
    certificate = None
    with contextlib.suppress(OSError, CertificateProblem):
        # Nothing is sent over this connection. It only finds out which certificate it was.
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
        certificate = _parsed(_handshake(address, unchecked))
    if certificate is None:
        return reason
    expires = certificate.not_valid_after_utc
    name = common_name(certificate.subject)
    if expires < utc_now():
        return (
            f"the certificate of {name!r}, which the server at {address} presents, expired on "
            f"{expires:%Y-%m-%d}. Its operator must renew it, with rescind org renew."
        )
    return f"{reason}. It is of {name!r}, issued by {common_name(certificate.issuer)!r}."


def _parsed(certificate: bytes) -> x509.Certificate:
    try:
        is_pem = certificate.lstrip().startswith(b"-----")
        load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
        return readable(load(certificate))
    except UNREADABLE as error:
        raise CertificateProblem(
            f"the bytes are not a certificate in PEM or DER: {error}"
        ) from error
