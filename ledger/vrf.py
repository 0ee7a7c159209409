"""A verifiable random function: ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381).

The holder of the secret key can compute the output for a name and prove it. No one else can compute
the output, or find a name from it by trying. There is one output for each key and name, even if
the key's owner cheats. Group operations are libsodium's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nacl import bindings as sodium
from nacl.exceptions import RuntimeError as NotOnCurve
from nacl.signing import SigningKey

from rescind.core.errors import LedgerError

_SUITE = b"\x03"
_ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of the prime-order subgroup of edwards25519."""
_CHALLENGE, _SCALAR, _POINT = 16, 32, 32
PROOF_BYTES = _POINT + _CHALLENGE + _SCALAR
_IDENTITY = (1).to_bytes(_POINT, "little")


class ProofInvalid(LedgerError):
    """A proof does not show what it claims."""

    code = "ledger-proof-invalid"


@dataclass(frozen=True)
class VrfKey:
    """A secret key.

    Attributes:
        secret: 32 bytes.
    """

    secret: bytes

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(SigningKey(self.secret).verify_key)

    def prove(self, alpha: bytes) -> bytes:
        """Return the proof for an input, 80 bytes (section 5.1), from which `output` reads."""
        expanded = hashlib.sha512(self.secret).digest()
        scalar = _clamped(expanded[:32])
        point = _to_curve(self.public, alpha)
        gamma = _times(scalar, point)
        nonce = int.from_bytes(hashlib.sha512(expanded[32:] + point).digest(), "little") % _ORDER
        c = _challenge(self.public, point, gamma, _times_base(nonce), _times(nonce, point))
        s = (nonce + int.from_bytes(c, "little") * scalar) % _ORDER
        return gamma + c + s.to_bytes(_SCALAR, "little")


def verify(public: bytes, alpha: bytes, proof: bytes) -> bytes:
    """Check a proof and return its output (section 5.3).

    Args:
        public: The public key.
        alpha: The input.
        proof: 80 bytes.

    Returns:
        64 bytes.

    Raises:
        ProofInvalid: The key or the proof is malformed, or the proof does not hold.
    """
    if len(proof) != PROOF_BYTES or len(public) != _POINT:
        raise ProofInvalid(
            f"the proof has {len(proof)} bytes and must have {PROOF_BYTES}; the key has "
            f"{len(public)} and must have {_POINT}"
        )
    gamma, c, s = proof[:32], proof[32:48], int.from_bytes(proof[48:], "little")
    if s >= _ORDER:
        raise ProofInvalid("the scalar s of the proof is out of range")
    try:
        if _cleared(public) == _IDENTITY:
            raise ProofInvalid("the public key is of low order")
        point, number = _to_curve(public, alpha), int.from_bytes(c, "little")
        u = sodium.crypto_core_ed25519_sub(_times_base(s), _times_any(number, public))
        v = sodium.crypto_core_ed25519_sub(_times(s, point), _times_any(number, gamma))
    except NotOnCurve as error:
        raise ProofInvalid("the key or the proof does not encode a point of the curve") from error
    if _challenge(public, point, gamma, u, v) != c:
        raise ProofInvalid("the proof does not hold for this name and key")
    return output(proof)


def output(proof: bytes) -> bytes:
    """Return the output of a proof without checking it: 64 bytes (section 5.2)."""
    return hashlib.sha512(_SUITE + b"\x03" + _cleared(proof[:32]) + b"\x00").digest()


def _to_curve(salt: bytes, alpha: bytes) -> bytes:
    """Hash to the curve by try and increment (section 5.4.1.1)."""
    for counter in range(256):
        text = _SUITE + b"\x01" + salt + alpha + bytes([counter]) + b"\x00"
        candidate = hashlib.sha512(text).digest()[:32]
        try:
            point = _cleared(candidate)
        except NotOnCurve:
            continue
        if point != _IDENTITY:
            return point
    raise ProofInvalid("this name does not hash to a point of the curve")


def _challenge(*points: bytes) -> bytes:
    return hashlib.sha512(_SUITE + b"\x02" + b"".join(points) + b"\x00").digest()[:_CHALLENGE]


def _clamped(data: bytes) -> int:
    value = int.from_bytes(data, "little")
    return (value & ((1 << 254) - 8)) | (1 << 254)


def _cleared(point: bytes) -> bytes:
    """Return eight times a point, which is in the group of prime order; raise NotOnCurve."""
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return point


def _times(scalar: int, point: bytes) -> bytes:
    encoded = (scalar % _ORDER).to_bytes(_SCALAR, "little")
    return bytes(sodium.crypto_scalarmult_ed25519_noclamp(encoded, point))


def _times_base(scalar: int) -> bytes:
    encoded = (scalar % _ORDER).to_bytes(_SCALAR, "little")
    return bytes(sodium.crypto_scalarmult_ed25519_base_noclamp(encoded))


def _times_any(scalar: int, point: bytes) -> bytes:
    """Multiply a point that may be outside the group of prime order, by doubling and adding."""
    total = _IDENTITY
    for bit in bin(scalar)[2:]:
        total = sodium.crypto_core_ed25519_add(total, total)
        if bit == "1":
            total = sodium.crypto_core_ed25519_add(total, point)
    return bytes(total)
