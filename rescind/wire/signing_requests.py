"""Certificate signing requests (PKCS #10), ours and those that other tools make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from rescind.wire.errors import CertificateProblem
from rescind.wire.keys import UNREADABLE, TlsKey, check_key
from rescind.wire.names import Host, common_name, hosts_in, parse_host, subject


@dataclass(frozen=True)
class SigningRequest:
    """A request that its own key signed, and that names nothing but hosts.

    Attributes:
        name: The common name in it, or its whole subject.
        hosts: The hosts at which the holder wants to be reached; empty if it serves nothing.
        key: The key to certify.
        key_kind: The kind of the key, in words.
        organization: Whether an organization certificate is asked for, which issues others.
    """

    name: str
    hosts: tuple[Host, ...]
    key: Any
    key_kind: str
    organization: bool

    @classmethod
    def parse(cls, content: bytes) -> SigningRequest:
        """Read a request in PEM or DER.

        Raises:
            CertificateProblem: It is malformed, not signed by its own key, has a weak key, or names
                something else than hosts.
        """
        request = _loaded(content)
        try:
            signed, extensions = request.is_signature_valid, request.extensions
            key = request.public_key()
            name = common_name(request.subject)
        except UNREADABLE as error:
            raise CertificateProblem(
                f"the signing request cannot be used: {error}. Make another one."
            ) from error
        if not signed:
            raise CertificateProblem("the signing request is not signed by its own key")
        hosts = hosts_in(extensions)
        return cls(
            name=name,
            hosts=hosts if _serves(extensions) else (),
            key=key,
            key_kind=check_key(key),
            organization=_is_authority(extensions),
        )

    def facts(self) -> dict[str, object]:
        """Return what the signer must know, besides the names."""
        kind = "an organization certificate, which issues others for these names only"
        return {
            "key": self.key_kind,
            "certificate": kind if self.organization else "a certificate of one daemon",
        }


def signing_request(
    key: TlsKey, name: str, hosts: Sequence[str] = (), *, organization: bool = False
) -> bytes:
    """Return a certificate signing request in PEM.

    Args:
        key: The key to certify.
        name: Name of the holder.
        hosts: Host names and IP addresses at which the holder is reached; empty if it only calls.
        organization: Ask for an organization certificate.

    Raises:
        CertificateProblem: The name or a host cannot stand in a certificate.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject(name))
    if hosts:
        names = x509.SubjectAlternativeName([parse_host(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    if organization:
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(constraints, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _loaded(content: bytes) -> x509.CertificateSigningRequest:
    try:
        if content.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_csr(content)
        return x509.load_der_x509_csr(content)
    except UNREADABLE as error:
        raise CertificateProblem(
            "the file is not a certificate signing request in PEM or DER"
        ) from error


def _serves(extensions: x509.Extensions) -> bool:
    """Return whether a request that names hosts asks for a server's certificate."""
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usages


def _is_authority(extensions: x509.Extensions) -> bool:
    try:
        return extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
