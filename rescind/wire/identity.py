"""TLS keys and certificates, and a consortium's certificate authority.

A private key never leaves the machine that generated it: the authority signs a request.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rescind.core.files import create_private, make_private_folder
from rescind.wire.errors import CertificateProblem

_YEARS = 2
"""Validity of an issued certificate."""
_AUTHORITY_YEARS = 5
_ONE_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class TlsFiles:
    """Paths of PEM files: a private key, its certificate, and the consortium's authority."""

    key: Path
    certificate: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return the content of the three files, in the order of the attributes.

        Raises:
            CertificateProblem: A file cannot be read.
        """
        contents = []
        for path in (self.key, self.certificate, self.authority):
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise CertificateProblem(f"cannot read {path}: {error.strerror}") from error
        return contents[0], contents[1], contents[2]


def presented_certificate(address: str, tls: TlsFiles) -> bytes:
    """Return the certificate (PEM) that a server of the consortium's authority presents.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's TLS files.

    Raises:
        OSError: The server does not answer, or its certificate is not of the authority or not for
            the host.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    context = ssl.create_default_context(cafile=str(tls.authority))
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        presented = secured.getpeercert(binary_form=True)
    # The handshake fails without a certificate of the server.
    assert presented is not None
    return ssl.DER_cert_to_PEM_cert(presented).encode()


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form, hexadecimal.

    Args:
        certificate: The certificate in PEM or DER.

    Raises:
        CertificateProblem: The bytes are not a certificate.
    """
    parsed = _parsed(certificate)
    return hashlib.sha256(parsed.public_bytes(serialization.Encoding.DER)).hexdigest()


def sign_with_key(key: bytes, message: bytes) -> bytes:
    """Return the signature of a message by a TLS key, ECDSA with SHA-256 in DER.

    It proves on chain that who registers a certificate has its key
    (`rescind.contracts.fingerprint_message`).

    Args:
        key: The private key in PEM.
        message: What to sign.

    Raises:
        CertificateProblem: The bytes are not an elliptic-curve key.
    """
    try:
        loaded = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateProblem(f"the TLS key cannot be read: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise CertificateProblem("the TLS key is not an elliptic-curve key: make one of P-256")
    return loaded.sign(message, ec.ECDSA(hashes.SHA256()))


def is_signed_by(certificate: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the key of a certificate made a signature, as `sign_with_key` does.

    Args:
        certificate: The certificate in PEM or DER.
        message: What was signed.
        signature: The signature.

    Raises:
        CertificateProblem: The bytes are not a certificate.
    """
    key = _parsed(certificate).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Generate a P-256 key and write it to a new file of mode 0600.

    Raises:
        FileExistsError: The file exists; a key is never overwritten.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    make_private_folder(path.parent)
    with create_private(path) as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return key


def signing_request(key: ec.EllipticCurvePrivateKey, name: str, hosts: Sequence[str] = ()) -> bytes:
    """Return a certificate signing request in PEM.

    Args:
        key: The key to certify.
        name: Common name of the holder.
        hosts: DNS names and IP addresses at which the holder is reached; "localhost" if empty.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(name))
    builder = builder.add_extension(_alternatives(hosts or ("localhost",)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class CertificateAuthority:
    """A consortium's own certificate authority: `authority.key` and `authority.pem` in a folder."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key, self._certificate = key, certificate

    @classmethod
    def create(cls, folder: Path, name: str) -> Self:
        """Create an authority in a folder.

        Args:
            folder: Where to write `authority.key` and `authority.pem`.
            name: Common name of the authority.

        Raises:
            FileExistsError: The folder already holds an authority.
        """
        key = new_key(folder / "authority.key")
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _ONE_DAY)
            .not_valid_after(now + _AUTHORITY_YEARS * 365 * _ONE_DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the authority in a folder.

        Raises:
            CertificateProblem: The folder holds no authority.
        """
        try:
            key = serialization.load_pem_private_key(
                (folder / "authority.key").read_bytes(), password=None
            )
            certificate = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateProblem(f"{folder} holds no certificate authority: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateProblem(f"{folder / 'authority.key'} is not an elliptic-curve key")
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        """The certificate in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, request: bytes) -> bytes:
        """Issue a certificate, valid for both ends of TLS.

        Args:
            request: A certificate signing request in PEM.

        Returns:
            The certificate in PEM.

        Raises:
            CertificateProblem: The request is malformed, or not signed by its own key.
        """
        csr = _signing_request(request)
        now = datetime.datetime.now(datetime.UTC)
        hosts = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self._certificate.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _ONE_DAY)
            .not_valid_after(now + _YEARS * 365 * _ONE_DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                ),
                critical=False,
            )
            .add_extension(hosts, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _signing_request(request: bytes) -> x509.CertificateSigningRequest:
    """Return a certificate signing request (PEM) that its own key signed."""
    try:
        parsed = x509.load_pem_x509_csr(request)
    except ValueError as error:
        raise CertificateProblem(
            f"the bytes are not a certificate signing request: {error}"
        ) from error
    if not parsed.is_signature_valid:
        raise CertificateProblem("the signing request is not signed by its own key")
    return parsed


def _parsed(certificate: bytes) -> x509.Certificate:
    try:
        return (
            x509.load_pem_x509_certificate(certificate)
            if certificate.lstrip().startswith(b"-----")
            else x509.load_der_x509_certificate(certificate)
        )
    except ValueError as error:
        raise CertificateProblem(
            f"the bytes are not a certificate in PEM or DER: {error}"
        ) from error


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


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
