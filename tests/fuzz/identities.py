"""Certificates and signing requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rescind.wire.identity import fingerprint, is_signed_by
from rescind.wire.signing_requests import SigningRequest, signing_request
from rescind.wire.validity import is_issued_by, read_certificates
from tests.fuzz.target import Target


def targets() -> Iterator[Target]:
    key = ec.derive_private_key(7, ec.SECP256R1())
    requests = [signing_request(key, "hospital", hosts) for hosts in (["node.example"], ["::1"])]
    der = [_der(request) for request in requests]
    yield Target("signing-request", [*requests, *der], SigningRequest.parse)
    pem = certificate(key)
    whole = x509.load_pem_x509_certificate(pem)
    der = whole.public_bytes(serialization.Encoding.DER)

    def ask(data: bytes) -> str:
        """Do what a caller does with the certificate that a server presents."""
        found = fingerprint(data)
        is_signed_by(data, b"message", b"signature")
        if data.lstrip().startswith(b"-----"):
            for each in read_certificates(data, Path("file")):
                is_issued_by(each, whole)
        return found

    yield Target("fingerprint", [pem, der], ask)


def _der(request: bytes) -> bytes:
    parsed = x509.load_pem_x509_csr(request)
    return parsed.public_bytes(serialization.Encoding.DER)


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hospital")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
