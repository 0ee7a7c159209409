"""Private and public TLS keys: those that are accepted, and what they sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rescind.core import create_private, make_private_folder
from rescind.wire.errors import CertificateProblem

TlsKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""The errors that cryptography raises for keys, certificates and requests that it cannot read, also when a field
of one is first looked at. They have no class in common."""

_CURVES = ("secp256r1", "secp384r1")
"""Curves that gRPC's TLS verifies."""

_RSA_BITS = (2048, 8192)
"""Least and most bits of an RSA modulus: fewer are weak, more are refused by gRPC's TLS."""


def readable(certificate: x509.Certificate) -> x509.Certificate:
    """Return a certificate whose names and dates can be read: cryptography reads them when asked.

    Raises:
        Exception: One of `UNREADABLE`.
    """
    _ = certificate.subject, certificate.issuer
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def check_key(key: Any) -> str:
    """Check that a public key is strong enough and of a kind that gRPC's TLS takes.

    Returns:
        The kind of the key, in words.

    Raises:
        CertificateProblem: It is not.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in _CURVES:
            return f"elliptic curve {key.curve.name}"
        raise CertificateProblem(
            f"the key is on the curve {key.curve.name}, which gRPC does not take. Make a key on "
            "P-256 (secp256r1)."
        )
    if isinstance(key, rsa.RSAPublicKey):
        least, most = _RSA_BITS
        if least <= key.key_size <= most:
            return f"RSA, {key.key_size} bits"
        raise CertificateProblem(
            f"the RSA key has {key.key_size} bits, and {least} to {most} are taken. Make a key on "
            "P-256, or of RSA with 3072 bits."
        )
    kind = type(key).__name__.strip("_").removesuffix("PublicKey")
    raise CertificateProblem(
        f"the key is of the kind {kind}, which gRPC does not take. Make a key on P-256, or of RSA "
        "with 3072 bits."
    )


def load_key(pem: bytes, name: str) -> TlsKey:
    """Return a private key.

    Args:
        pem: The key in PEM, not encrypted.
        name: What error messages call it, such as the file.

    Raises:
        CertificateProblem: The bytes are not such a key.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise CertificateProblem(
            f"{name} is encrypted with a password. Store the TLS key without one, readable only by "
            "the daemon."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateProblem(f"{name} is not a private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        check_key(key.public_key())
        raise CertificateProblem(f"{name} is not a key of an elliptic curve or RSA")
    return key


def sign_with_key(key: bytes, message: bytes) -> bytes:
    """Return the signature of a message by a TLS key, with SHA-256: ECDSA in DER, or RSA (PKCS #1).

    It proves on chain that who registers a certificate has its key
    (`rescind.contracts.fingerprint_message`).

    Args:
        key: The private key in PEM.
        message: The message to sign.

    Raises:
        CertificateProblem: The bytes are not a private key.
    """
    loaded = load_key(key, "the TLS key")
    if isinstance(loaded, rsa.RSAPrivateKey):
        return loaded.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return loaded.sign(message, ec.ECDSA(hashes.SHA256()))


def verifies(key: Any, message: bytes, signature: bytes) -> bool:
    """Return whether a public key verifies a signature that `sign_with_key` made."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            return False
    except InvalidSignature:
        return False
    return True


def generate_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: TlsKey) -> bytes:
    """Return a private key in PEM (PKCS #8), not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Generate a P-256 key and write it to a new file of mode 0600.

    Raises:
        FileExistsError: The file exists; a key is never overwritten.
    """
    key = generate_key()
    make_private_folder(path.parent)
    with create_private(path) as file:
        file.write(key_pem(key))
    return key
