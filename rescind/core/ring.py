"""The ring of the linear digest, and the public matrix. Both are fixed for ever.

R_q = Z_q[X] / (X^2048 + 1) with q = q1 q2. An element is written by its values: residue i modulo a
prime p is f(psi^(2i + 1)), where psi is that prime's 4096th root of unity below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

DEGREE = 2048
"""The degree n of the ring."""
PRIMES = (2013265921, 2130706433)
"""15 * 2^27 + 1 and 127 * 2^24 + 1."""
ROOTS = (1282623253, 1989134074)
"""psi of each prime, g^((p - 1) / 4096) for its least primitive root g = 31 and 3."""
MODULUS = PRIMES[0] * PRIMES[1]
"""q, just under 2^62."""
DOMAIN = b"rescind.digest/1"
"""Separates the matrix from other uses of the same hash; it carries the format's version."""

WORDS = len(PRIMES) * DEGREE
"""Residues of one ring element."""
_COUNTERS = WORDS * 8 // 16
"""AES blocks of 16 bytes for one ring element's words of 8 bytes."""


def blocks_of(size: int) -> int:
    """Return how many ring elements `size` values fill, the last one padded with zeros."""
    return -(-size // DEGREE)


def matrix_key(name: str, shape: Sequence[int]) -> bytes:
    """Return the AES key of a tensor's matrix.

    It is the SHA-256 of: domain, a zero byte, u32 length of the UTF-8 name, the name, u32 number of
    dimensions, u64 each dimension; integers are big-endian.
    """
    encoded = name.encode()
    parts = [DOMAIN, b"\0", len(encoded).to_bytes(4, "big"), encoded, len(shape).to_bytes(4, "big")]
    return hashlib.sha256(b"".join(parts) + b"".join(n.to_bytes(8, "big") for n in shape)).digest()


class Matrix:
    """The elements a_0, a_1, ... of one tensor.

    Word i of block k is bytes 8(4096k + i) to 8(4096k + i) + 8 of the AES-256-CTR keystream under
    `matrix_key` with a 128-bit big-endian counter from zero, read little-endian. Words 0..2047 mod
    q1 and words 2048..4095 mod q2 are the residues of a_k (bias under 2^-33).
    """

    def __init__(self, name: str, shape: Sequence[int]) -> None:
        self._key = AES(matrix_key(name, shape))

    def words(self, first: int, count: int) -> NDArray[np.uint64]:
        """Return the unreduced words of blocks `first` to `first + count`: (count, 4096)."""
        words = np.empty((count, WORDS), dtype="<u8")
        self.fill(first, words)
        return words

    def fill(self, first: int, words: NDArray[np.uint64]) -> None:
        """Overwrite little-endian, contiguous `words` (count, 4096), from block `first` on."""
        if not words.size:
            return
        words.fill(0)
        mode = CTR((first * _COUNTERS).to_bytes(16, "big"))
        buffer = memoryview(words).cast("B")  # type: ignore[arg-type]
        Cipher(self._key, mode).encryptor().update_into(buffer, buffer)
