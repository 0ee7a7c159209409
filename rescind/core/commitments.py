"""Commitments to digests: points of BLS12-381 G1 that a contract can add up by itself.

The commitment of 4,096 words w is P(w) = sum of w_i G_i, a Pedersen vector commitment (Pedersen,
CRYPTO 1991) under generators G_i that no one chose (docs/decisions/008-generators.md). It is
additive over the integers: 3 P(v) + 5 P(w) = P(3v + 5w). It binds as long as no one finds a
discrete logarithm in this group, and it hides nothing: equal digests have equal commitments.

A point is the 128 bytes of EIP-2537: x, then y, each 16 zero bytes and 48 big-endian bytes.
Infinity, the commitment of zeros, is 128 zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eth_hash.auto import keccak
from numpy.typing import NDArray
from py_arkworks_bls12381 import G1Point, Scalar

from rescind.core._generators import generators
from rescind.core.errors import ArtifactError
from rescind.core.linear_digest import Digest
from rescind.core.ring import WORDS

POINT_BYTES = 128
INFINITY = bytes(POINT_BYTES)
"""The neutral point: the commitment of zeros, and of the base model alone."""
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""r, the prime order of the group (EIP-2537)."""
_FIELD = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f624"
    "1eabfffeb153ffffb9feffffffffaaab",
    16,
)
"""p, the prime of the coordinates (EIP-2537)."""
_PADDING, _COORDINATE = 16, 64


class PointMalformed(ArtifactError):
    """Bytes are not a point that may be registered."""

    code = "artifact-point-malformed"


def commit(digest: Digest) -> bytes:
    """Return the commitment of a digest, 128 bytes."""
    return commit_words(digest.residues.reshape(-1))


def commit_words(words: NDArray[Any]) -> bytes:
    """Return the commitment of unsigned words, 128 bytes.

    Args:
        words: 4,096 unsigned integers of up to 64 bits. Word i goes with generator i.

    Raises:
        PointMalformed: There are not 4,096 words, or they are not unsigned integers.
    """
    if words.shape != (WORDS,) or words.dtype.kind != "u":
        raise PointMalformed(
            f"only {WORDS} unsigned words can be committed to, but these have shape "
            f"{words.shape} and dtype {words.dtype}"
        )
    return commit_integers(words.tolist())


def commit_integers(integers: Sequence[int]) -> bytes:
    """Return the commitment of 4,096 integers of any size, taken modulo the group's order."""
    scalars = [Scalar(integer % ORDER) for integer in integers]
    return _encoded(G1Point.multiexp_unchecked(generators(), scalars))


def sum_points(terms: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the sum of coefficient x point, 128 bytes; infinity if there are no terms.

    Points of one coefficient are added up before they are multiplied, as the contract does, so a
    round of equal weights costs a multiplication and one addition for each member.

    Args:
        terms: Points with their coefficients: any integers, taken modulo the group's order. A point
            may be infinity. That it is in the subgroup is not checked here: use `check_point`
            before, unless a contract registered it.

    Raises:
        PointMalformed: A point is not 128 bytes, not canonical, or not on the curve.
    """
    sums: dict[int, G1Point] = {}
    for point, coefficient in terms:
        decoded, factor = _decoded(point), coefficient % ORDER
        sums[factor] = sums[factor] + decoded if factor in sums else decoded
    scalars = [Scalar(factor) for factor in sums]
    return _encoded(G1Point.multiexp_unchecked(list(sums.values()), scalars))


def check_point(point: bytes) -> None:
    """Check that bytes are a point that a contract registers.

    Raises:
        PointMalformed: They are not 128, not canonical, infinity, off the curve, or outside the
            subgroup of order r.
    """
    if point == INFINITY:
        raise PointMalformed(
            "the point is infinity, the commitment of zeros: commit to a digest that is not zero"
        )
    if not _decoded(point).is_in_subgroup():
        raise PointMalformed(
            f"the point {_short(point)} is on the curve but not in the subgroup of order r: take "
            "it from rescind.core.commit"
        )


def point_hash(point: bytes) -> str:
    """Return what the chain stores of a point: its keccak-256, 64 hexadecimal digits."""
    return keccak(point).hex()


def _decoded(point: bytes) -> G1Point:
    if len(point) != POINT_BYTES:
        raise PointMalformed(
            f"a point has {POINT_BYTES} bytes (EIP-2537), but this one has {len(point)}"
        )
    coordinates = point[:_COORDINATE], point[_COORDINATE:]
    for name, coordinate in zip("xy", coordinates, strict=True):
        if int.from_bytes(coordinate, "big") >= _FIELD:
            raise PointMalformed(
                f"coordinate {name} of the point {_short(point)} is not below the field's prime"
            )
    try:
        return G1Point.from_xy_bytes_unchecked_be(b"".join(c[_PADDING:] for c in coordinates))
    except ValueError as error:
        raise PointMalformed(
            f"the point {_short(point)} is not on the curve y^2 = x^3 + 4"
        ) from error


def _encoded(point: G1Point) -> bytes:
    coordinates = point.to_xy_bytes_be()
    padding = bytes(_PADDING)
    half = _COORDINATE - _PADDING
    return padding + coordinates[:half] + padding + coordinates[half:]


def _short(point: bytes) -> str:
    """The beginning of x and of y, without their zeros in front."""
    x, y = point[_PADDING:_COORDINATE].hex(), point[_COORDINATE + _PADDING :].hex()
    return f"({x[:8]}..., {y[:8]}...)"
