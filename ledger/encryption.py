"""Authenticated encryption: AES-256-GCM (NIST SP 800-38D) with a random nonce in front."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE = 12
"""Bytes of a nonce: 96 bits, the length that GCM is defined for without hashing."""


def new_key() -> bytes:
    """Return a random key from the operating system's generator."""
    return os.urandom(KEY_BYTES)


def encrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    """Encrypt data under a key.

    Args:
        key: 32 bytes.
        data: The plaintext.
        bound: Associated data. Decryption needs the same.

    Returns:
        The nonce, then the ciphertext with its tag.
    """
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def decrypt(key: bytes, encrypted: bytes, bound: bytes) -> bytes:
    """Decrypt what `encrypt` returned.

    Raises:
        InvalidTag: The key or `bound` is another one, or the bytes were changed.
        ValueError: The input is too short to be a ciphertext.
    """
    if len(encrypted) <= _NONCE:
        raise ValueError("too short for a nonce and a ciphertext")
    return AESGCM(key).decrypt(encrypted[:_NONCE], encrypted[_NONCE:], bound)
