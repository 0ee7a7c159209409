"""Openings: the integer sums behind a commitment, by which the holder of a file checks it.

An opening is S = sum of weight x digest over the contributions of one owner, as integers and not
reduced: 4,096 words of 64 bits. Its commitment P(S) is the weighted sum of the registered points,
and S modulo the primes is the digest of the owner's tensors in the model. So the holder of the file
and the opening checks against points alone that the file is the sum.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from rescind.core.artifact import check_file_size
from rescind.core.commitments import commit_integers, commit_words, sum_points
from rescind.core.delta import OutOfBounds, WrongShape, l2_norm
from rescind.core.errors import ArtifactError
from rescind.core.layout import split_owner
from rescind.core.linear_digest import Digest, digest
from rescind.core.mapped import Bytes
from rescind.core.ring import DEGREE, PRIMES, WORDS
from rescind.core.tensor_header import (
    LENGTH_BYTES,
    MOST_HEADER_BYTES,
    TensorSpec,
    header_size,
    most_header_bytes,
    read_header,
)

OPENING_METADATA = {"format": "rescind.opening/1"}
OPENING_BYTES = 8 * WORDS
"""Bytes of one owner's words."""
_OPENING_SPEC = TensorSpec("U64", (WORDS,))
_MODULI = np.repeat(np.array(PRIMES, dtype=np.uint64), DEGREE)
_WORD_LIMIT = 2**64
_RANDOM_BITS = 128
"""A wrong opening passes a check of many at once with probability 2^-128."""
_FEW = 4
"""So many openings are committed to faster one by one: a check at once multiplies 4,096 generators by
numbers of 200 bits, a single commitment by numbers of 64."""


class OpeningMalformed(ArtifactError):
    """Bytes are not the canonical encoding of openings."""

    code = "artifact-opening-malformed"


class OpeningOutOfRange(ArtifactError):
    """A word of an opening is larger than the weights allow, or a sum does not fit 64 bits."""

    code = "artifact-opening-out-of-range"


class OpeningMismatch(ArtifactError):
    """An opening does not belong to the tensors, or not to the registered points."""

    code = "artifact-opening-mismatch"


@dataclass(frozen=True)
class Opening:
    """The opening of one owner.

    Attributes:
        owner: The owner of the tensors: an organization's address in lowercase, or
            rescind.core.SHARED.
        data: 4,096 little-endian words of 64 bits: 2,048 sums of residues modulo the first prime,
            then 2,048 modulo the second.

    Raises:
        OpeningMalformed: The owner cannot be a tensor's name, or there are not OPENING_BYTES.
    """

    owner: str
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.owner or "/" in self.owner or self.owner.startswith("__"):
            raise OpeningMalformed(
                f"{self.owner!r} cannot own an opening: an owner is an address or 'shared'"
            )
        if len(self.data) != OPENING_BYTES:
            raise OpeningMalformed(
                f"the opening of {self.owner} has {len(self.data)} bytes, not {OPENING_BYTES}"
            )

    @classmethod
    def from_words(cls, owner: str, words: NDArray[np.uint64]) -> Self:
        """Return the opening with these 4,096 words."""
        return cls(owner, np.ascontiguousarray(words, dtype="<u8").tobytes())

    @classmethod
    def build(
        cls,
        owner: str,
        terms: Iterable[tuple[Digest, int]],
        start: tuple[Opening, int] | None = None,
    ) -> Self:
        """Return the opening of the sum of weight x digest; zeros if there are no terms.

        Args:
            owner: The owner of the tensors.
            terms: The digests of the owner's contributions, with their weights in the model.
            start: An opening to add them to, with the weights that it sums.

        Raises:
            OpeningOutOfRange: A weight is negative, or the sum may not fit 64 bits.
        """
        words = np.zeros(WORDS, dtype=np.uint64) if start is None else start[0].words
        total = 0 if start is None else start[1]
        for value, weight in terms:
            if weight < 0:
                raise OpeningOutOfRange(
                    f"weight {weight} in the opening of {owner} is negative: build it from the "
                    "content that remains"
                )
            total += weight
            if total * (max(PRIMES) - 1) >= _WORD_LIMIT:
                raise OpeningOutOfRange(
                    f"the weights of {owner} come to {total}, and with these a word of the opening "
                    "may exceed 64 bits: sum fewer rounds"
                )
            words += value.residues.reshape(-1).astype(np.uint64) * np.uint64(weight)
        return cls.from_words(owner, words)

    @property
    def words(self) -> NDArray[np.uint64]:
        """The 4,096 words."""
        return np.frombuffer(self.data, dtype="<u8").astype(np.uint64)

    @cached_property
    def digest(self) -> Digest:
        """The words modulo the primes: the digest of the owner's summed tensors."""
        return Digest.from_residues((self.words % _MODULI).reshape(2, DEGREE))

    @cached_property
    def commitment(self) -> bytes:
        """P(S), 128 bytes."""
        return commit_words(self.words)

    def check_bound(self, total_weight: int) -> None:
        """Check that every word is at most total_weight x (prime - 1).

        Args:
            total_weight: The sum of the weights of the owner's contributions.

        Raises:
            OpeningOutOfRange: A word is larger.
        """
        words = self.words
        limits = [min(total_weight * (prime - 1), _WORD_LIMIT - 1) for prime in PRIMES]
        too_large = np.flatnonzero(words > np.repeat(np.array(limits, dtype=np.uint64), DEGREE))
        if len(too_large):
            index = int(too_large[0])
            raise OpeningOutOfRange(
                f"word {index} in the opening of {self.owner} is {words[index]}, but weights that "
                f"come to {total_weight} allow at most {limits[index // DEGREE]}"
            )

    def check_point(self, point: bytes) -> None:
        """Check that the words are those that a point commits to.

        Raises:
            OpeningMismatch: They are not.
        """
        if self.commitment != point:
            raise OpeningMismatch(
                f"the opening of {self.owner} has another commitment than the registered points "
                "come to: fetch the opening of this model from another node"
            )

    def check_tensors(
        self, tensors: Mapping[str, NDArray[Any]], known: Digest | None = None
    ) -> None:
        """Check that tensors, by qualified name, have the digest of this opening.

        Args:
            tensors: The owner's tensors.
            known: Their digest, where a pass over the file has found it already.

        Raises:
            OpeningMismatch: They have another digest.
            DigestMalformed: A tensor is neither int32 nor int64.
        """
        if (digest(tensors) if known is None else known) != self.digest:
            raise OpeningMismatch(
                f"the tensors of {self.owner} are not what its opening opens to: they are not the "
                "weighted sum of its registered contributions"
            )


def commit_at_once(openings: Sequence[tuple[Opening, bytes]]) -> None:
    """Find the commitments of many openings that probably have the given points.

    One random combination of all openings is compared with that of all points (small exponents
    test: Bellare, Garay and Rabin, EUROCRYPT 1998). It takes one multiplication by the generators
    instead of one for each opening. If it holds, each opening has its point. If not, both halves
    are looked at alone. Afterwards `Opening.check_point` costs nothing.

    Args:
        openings: Openings with the points that they should have. The points must be in the subgroup
            of order r, as sums of registered points are: the test says nothing of others.

    Raises:
        PointMalformed: A point is not 128 bytes, not canonical, or not on the curve.
    """
    if len(openings) <= _FEW:
        for opening, _ in openings:
            _ = opening.commitment
        return
    factors = [secrets.randbits(_RANDOM_BITS) for _ in openings]
    combined = np.zeros(WORDS, dtype=object)
    for (opening, _), factor in zip(openings, factors, strict=True):
        combined += opening.words.astype(object) * factor
    points = (point for _, point in openings)
    if commit_integers(combined.tolist()) == sum_points(zip(points, factors, strict=True)):
        for opening, point in openings:
            # Where cached_property keeps it; the dataclass is frozen.
            object.__setattr__(opening, "commitment", point)
        return
    middle = len(openings) // 2
    commit_at_once(openings[:middle])
    commit_at_once(openings[middle:])


def check_opened(
    opening: Opening,
    tensors: Mapping[str, NDArray[Any]],
    *,
    terms: Iterable[tuple[bytes, int]],
    shapes: Mapping[str, tuple[int, ...]],
    norm_bound: float,
    known: Digest | None = None,
) -> None:
    """Check that an owner's tensors in a model are the weighted sum behind registered points.

    The steps are those of docs/digest.md, "Accepting a file".

    Args:
        opening: The owner's opening.
        tensors: The owner's tensors, by qualified name OWNER/NAME.
        terms: The points of the owner's contributions that the model contains, checked against the
            hashes on chain, with their weights.
        shapes: The agreed shapes, by bare name.
        norm_bound: The L2 norm up to which the digest binds (`adapter_norm_bound`).
        known: The digest of the tensors, where a pass over the file has found it already.

    Raises:
        WrongShape: A tensor is missing, foreign, or has the wrong shape or dtype.
        OutOfBounds: The tensors are too long for their digest to bind them.
        OpeningOutOfRange: A word is larger than the weights allow.
        OpeningMismatch: The points or the tensors are not those of the opening.
        PointMalformed: A point is not valid.
    """
    # (a) Names, shapes and dtypes are the agreed ones.
    _check_form(opening.owner, tensors, shapes)
    # (b) The L2 norm is within its bound.
    norm = l2_norm(tensors)
    if norm > norm_bound:
        raise OutOfBounds(
            f"the tensors of {opening.owner} have L2 norm {norm:.6g} in integer units; their "
            f"digest binds up to {norm_bound:.6g}"
        )
    # (c) The registered points with their weights sum to P(S), and S is within its range.
    content = list(terms)
    opening.check_bound(sum(weight for _, weight in content))
    opening.check_point(sum_points(content))
    # (d) S = D(file) modulo the primes.
    opening.check_tensors(tensors, known)


def _check_form(
    owner: str, tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    bare: dict[str, NDArray[Any]] = {}
    for name, value in tensors.items():
        prefix, bare_name = split_owner(name)
        if prefix != owner:
            raise WrongShape(f"tensor {name!r} belongs to {prefix}, but the opening is {owner}'s")
        bare[bare_name] = value
    missing, extra = sorted(set(shapes) - set(bare)), sorted(set(bare) - set(shapes))
    if missing or extra:
        raise WrongShape(
            f"the tensors of {owner} are not the agreed ones: missing {missing[:3]}, unexpected "
            f"{extra[:3]}"
        )
    for name, value in bare.items():
        if value.dtype != np.int64 or value.shape != tuple(shapes[name]):
            raise WrongShape(
                f"tensor {owner}/{name} has dtype {value.dtype} and shape {value.shape}, expected "
                f"int64 and {tuple(shapes[name])}"
            )


def encode_openings(openings: Iterable[Opening]) -> bytes:
    """Return the canonical bytes of openings: safetensors, one uint64 tensor for each owner.

    Raises:
        OpeningMalformed: Two openings have the same owner.
    """
    tensors: dict[str, NDArray[np.uint64]] = {}
    for opening in sorted(openings, key=lambda opening: opening.owner):
        if opening.owner in tensors:
            raise OpeningMalformed(f"there are two openings of {opening.owner}; keep one")
        tensors[opening.owner] = opening.words
    return safetensors.numpy.save(tensors, metadata=dict(OPENING_METADATA))


def decode_openings(
    data: Bytes, *, max_bytes: int | None = None, owners: Collection[str] | None = None
) -> dict[str, Opening]:
    """Return the openings of a file, by owner, sorted.

    Args:
        data: The bytes.
        max_bytes: The largest size to accept; unlimited by default.
        owners: The owners to expect: pass them wherever the bytes come from somebody else. Then a
            header that is much longer than theirs is not parsed.

    Raises:
        OpeningMalformed: There are more bytes, they are not safetensors, a tensor is not 4,096
            uint64, or the encoding is not the canonical one.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise OpeningMalformed(
            f"the file of openings has {len(data)} bytes; at most {max_bytes} are accepted"
        )
    most = MOST_HEADER_BYTES
    if owners is not None:
        most = most_header_bytes(dict.fromkeys(owners, _OPENING_SPEC), OPENING_METADATA)
    try:
        header = read_header(bytes(data[: header_size(bytes(data[:LENGTH_BYTES]), most)]))
        check_file_size(header, len(data))
    except ArtifactError as error:
        raise OpeningMalformed(f"the bytes are not a file of openings: {error}") from error
    for owner, spec in header.specs.items():
        if spec != _OPENING_SPEC:
            raise OpeningMalformed(
                f"the opening of {owner!r} has dtype {spec.numpy_dtype} and shape {spec.shape}, "
                f"expected uint64 and ({WORDS},)"
            )
    if header.metadata != OPENING_METADATA:
        raise OpeningMalformed(
            "the file of openings is not in canonical form (owners sorted, metadata "
            f"{OPENING_METADATA}); write it with rescind.core.encode_openings"
        )
    views = header.views(data)
    return {owner: Opening.from_words(owner, words) for owner, words in views.items()}
