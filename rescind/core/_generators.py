"""The 4,096 generators of a commitment: points of BLS12-381 G1 by hash-to-curve (RFC 9380).

Generator i is hash_to_curve(i as four big-endian bytes) in the suite
BLS12381G1_XMD:SHA-256_SSWU_RO_ under the tag DOMAIN. No one knows a discrete logarithm of any of
them to the base of another, since no one chose them. generators.bin is `derive_all()`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from py_arkworks_bls12381 import G1Point

from rescind.core.errors import ArtifactError
from rescind.core.ring import WORDS

DOMAIN = b"rescind.commitment/1-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
"""The domain separation tag of RFC 9380; it carries the format's version and the suite."""
FILE = Path(__file__).with_name("generators.bin")
"""Each generator's coordinates x and y, 48 big-endian bytes each.

Deriving them takes more than a second, reading them a few milliseconds.
"""
FILE_SHA256 = "fd4be346edeb7c5c7fc16de64ebb63b14ade1aea3560203a3449a7b86b041585"
_BYTES = 96


class GeneratorsDamaged(ArtifactError):
    """The installed file of generators is not the published one."""

    code = "artifact-generators-damaged"


def derive(index: int) -> G1Point:
    """Return generator `index` by its definition."""
    return G1Point.hash_to_curve(index.to_bytes(4, "big"), DOMAIN)


def derive_all() -> bytes:
    """Return the bytes of the file by its definition."""
    return b"".join(derive(index).to_xy_bytes_be() for index in range(WORDS))


@cache
def generators() -> list[G1Point]:
    """Return the generators, from the file.

    Raises:
        GeneratorsDamaged: The file's SHA-256 is not FILE_SHA256.
    """
    data = FILE.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    if actual != FILE_SHA256:
        raise GeneratorsDamaged(
            f"{FILE} has SHA-256 {actual}, expected {FILE_SHA256}: reinstall rescind"
        )
    # The hash vouches for the points, so the subgroup is not checked again.
    return [
        G1Point.from_xy_bytes_unchecked_be(data[start : start + _BYTES])
        for start in range(0, len(data), _BYTES)
    ]
