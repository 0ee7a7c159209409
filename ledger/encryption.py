"""Authenticated encryption: AES-256-GCM (NIST SP 800-38D), a random nonce in front of each box."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE = 12


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def encrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    """`bound`: associated data, without which the box does not open."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def decrypt(key: bytes, box: bytes, bound: bytes) -> bytes:
    """Raises InvalidTag, or ValueError for what is too short to be a box."""
    if len(box) <= _NONCE:
        raise ValueError("too short to be encrypted")
    return AESGCM(key).decrypt(box[:_NONCE], box[_NONCE:], bound)
