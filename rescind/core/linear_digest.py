"""The linear digest: a ring-SIS hash of integer tensors, so that a sum can be checked unseen.

D(x) = sum over tensors and blocks of a_{name,shape,k} x_k in R_q (rescind.core.ring), where x_k is
the k-th run of 2048 values of a tensor, row-major, zero-padded, as a polynomial. Ajtai 1996;
Lyubashevsky, Micciancio, Peikert, Rosen, "SWIFFT", FSE 2008. It is linear over the integers, and
binding for vectors that are as short as rescind.core.security demands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ArtifactError
from rescind.core.ring import DEGREE, PRIMES, WORDS

DIGEST_BYTES = 4 * WORDS
"""Bytes of a digest: 4096 residues of 4 bytes."""
_MODULI = np.array(PRIMES, dtype=np.uint64)[:, None]


class DigestMalformed(ArtifactError):
    """Bytes are not a digest, or tensors cannot be digested."""

    code = "artifact-digest-malformed"


@dataclass(frozen=True)
class Digest:
    """An element of R_q, as its canonical bytes.

    They are 4096 big-endian uint32: 2048 residues below q1 and then 2048 below q2. Equal digests
    have equal bytes.

    Attributes:
        data: The bytes.

    Raises:
        DigestMalformed: There are not DIGEST_BYTES, or a residue is not below its prime.
    """

    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.data) != DIGEST_BYTES:
            raise DigestMalformed(
                f"a digest has {DIGEST_BYTES} bytes, but this one has {len(self.data)}; "
                "take it from Digest.to_bytes()"
            )
        too_large = np.argwhere(self.residues >= _MODULI)
        if len(too_large):
            row, index = (int(n) for n in too_large[0])
            raise DigestMalformed(
                f"residue {index} is {self.residues[row, index]}, which is not below the prime "
                f"{PRIMES[row]}"
            )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the digest with these bytes; raise DigestMalformed if there is none."""
        return cls(bytes(data))

    @classmethod
    def from_residues(cls, residues: NDArray[Any]) -> Self:
        """Return the digest of (2, 2048) canonical residues, row i modulo prime i."""
        return cls(np.ascontiguousarray(residues, dtype=">u4").tobytes())

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return self.data

    @property
    def residues(self) -> NDArray[np.uint32]:
        """The residues, of shape (2, 2048), row i modulo prime i."""
        return np.frombuffer(self.data, dtype=">u4").astype(np.uint32).reshape(2, DEGREE)

    def __add__(self, other: Digest) -> Digest:
        return _reduced(self._wide + other._wide)

    def __sub__(self, other: Digest) -> Digest:
        return _reduced(self._wide + _MODULI - other._wide)

    def __neg__(self) -> Digest:
        return ZERO_DIGEST - self

    def __mul__(self, factor: int) -> Digest:
        """Multiply by any integer; D(k x) = k D(x)."""
        factors = np.array([factor % prime for prime in PRIMES], dtype=np.uint64)
        return _reduced(self._wide * factors[:, None])

    __rmul__ = __mul__

    @property
    def _wide(self) -> NDArray[np.uint64]:
        return self.residues.astype(np.uint64)


def _reduced(values: NDArray[np.uint64]) -> Digest:
    return Digest.from_residues(values % _MODULI)


ZERO_DIGEST = Digest(bytes(DIGEST_BYTES))
"""The digest of no tensors, and of zeros."""


def digest(tensors: Mapping[str, NDArray[Any]]) -> Digest:
    """Return the linear digest of integer tensors.

    Names, shapes and values are bound; dtypes and memory layouts are not.

    Raises:
        DigestMalformed: A tensor is neither int32 nor int64.
    """
    # numba takes most of a second to import, and most importers of the core digest nothing.
    from rescind.core import _ntt

    for name, array in tensors.items():
        if array.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
            raise DigestMalformed(
                f"tensor {name!r} has dtype {array.dtype}; only int32 or int64 can be digested"
            )
    return Digest.from_residues(_ntt.residues(tensors))
