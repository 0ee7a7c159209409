"""What a round was trained on: a sorted Merkle tree of commitments to its samples.

A leaf is the tag of a sample's subject and, under a key of that subject, the MAC of the sample:

    output = VRF(secret key, subject);  tag = output[:32];  leaf = tag || HMAC-SHA256(output[32:], sample)

So one can prove that a subject or a sample is in a manifest, or that it is not (its neighbours stand side
by side), and whoever is shown a proof about one subject can neither test for another nor read how
much there is of it. That nobody can map a name to two tags is the VRF's; a salted hash could not give
both.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rescind.core.canonical_json import canonical_json
from rescind.ledger import merkle
from rescind.ledger.vrf import (
    ProofInvalid,
    VrfKey,
    output,
    verify,
)

FORMAT = "rescind.manifest/1"
_TAG = 32


@dataclass(frozen=True)
class Neighbour:
    """A leaf (64 bytes), where it stands, and its RFC 9162 inclusion proof."""

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class ManifestProof:
    """About one subject or one sample. `leaves`: the leaf itself, or those that it would stand between."""

    public: bytes
    size: int
    root: bytes
    vrf: bytes
    leaves: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "public": self.public.hex(),
            "size": self.size,
            "root": self.root.hex(),
            "vrf": self.vrf.hex(),
            "leaves": [
                {"index": it.index, "leaf": it.leaf.hex(), "path": [p.hex() for p in it.path]}
                for it in self.leaves
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ManifestProof:
        """Raises ProofInvalid for anything that is not such a proof."""
        try:
            if document["format"] != FORMAT:
                raise ProofInvalid(f"{document['format']!r} is not {FORMAT!r}")
            leaves = tuple(
                Neighbour(
                    _count(it["index"]),
                    bytes.fromhex(it["leaf"]),
                    tuple(map(bytes.fromhex, it["path"])),
                )
                for it in document["leaves"]
            )
            fields = (bytes.fromhex(document[name]) for name in ("public", "root", "vrf"))
            public, root, vrf = fields
            return cls(public, _count(document["size"]), root, vrf, leaves)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"not a proof about a manifest: {error}") from error


class Manifest:
    """`leaves`: ascending, 64 bytes each. `secret`: 32 bytes; with it the same samples give the same
    manifest."""

    def __init__(self, leaves: Sequence[bytes], secret: bytes) -> None:
        self._secret, self._key = secret, VrfKey(secret)
        self._leaves = list(leaves)
        self._subtree = merkle.subtrees_of([merkle.leaf_hash(leaf) for leaf in self._leaves])

    @classmethod
    def of(cls, samples: Iterable[tuple[str, bytes]], secret: bytes) -> Self:
        """Of pairs of subject and bytes; the same one twice counts once."""
        key, outputs, leaves = VrfKey(secret), dict[str, bytes](), set[bytes]()
        for subject, sample in samples:
            if subject not in outputs:
                outputs[subject] = output(key.prove(subject.encode()))
            leaves.add(_leaf(outputs[subject], sample))
        return cls(sorted(leaves), secret)

    def to_json(self) -> dict[str, Any]:
        """What a ledger keeps, to prove from later."""
        leaves = base64.b64encode(b"".join(self._leaves)).decode()
        told = {"commitment": self.commitment.hex(), "size": self.size}
        return {**told, "secret": self._secret.hex(), "leaves": leaves}

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Raises ProofInvalid for a payload that is not of a manifest."""
        try:
            raw = base64.b64decode(payload["leaves"], validate=True)
            size = 2 * _TAG
            leaves = [raw[at : at + size] for at in range(0, len(raw), size)]
            found = cls(leaves, bytes.fromhex(payload["secret"]))
            commitment = bytes.fromhex(payload["commitment"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"not a manifest: {error}") from error
        if found.commitment != commitment:
            raise ProofInvalid("the leaves of the manifest are not what it commits to")
        return found

    @property
    def size(self) -> int:
        return len(self._leaves)

    @property
    def commitment(self) -> bytes:
        return _commitment(self._key.public, self.size, self._root)

    @property
    def _root(self) -> bytes:
        return merkle.root(self.size, self._subtree)

    def prove(self, subject: str, sample: bytes | None = None) -> ManifestProof:
        """That a subject, or one sample of it, is in or is not."""
        vrf = self._key.prove(subject.encode())
        wanted = _wanted(output(vrf), sample)
        place = bisect_left(self._leaves, wanted)
        if place < self.size and self._leaves[place].startswith(wanted):
            shown = [place]
        else:
            shown = [it for it in (place - 1, place) if 0 <= it < self.size]
        leaves = tuple(
            Neighbour(
                it,
                self._leaves[it],
                tuple(merkle.inclusion_proof(it, self.size, self._subtree)),
            )
            for it in shown
        )
        return ManifestProof(self._key.public, self.size, self._root, vrf, leaves)


def check(
    commitment: bytes, proof: ManifestProof, subject: str, sample: bytes | None = None
) -> bool:
    """Whether the subject, or the sample, is in the manifest with this commitment. Raises ProofInvalid
    for a proof that shows neither."""
    if _commitment(proof.public, proof.size, proof.root) != commitment:
        raise ProofInvalid("the proof is about another manifest")
    wanted = _wanted(verify(proof.public, subject.encode(), proof.vrf), sample)
    for it in proof.leaves:
        hashed = merkle.leaf_hash(it.leaf)
        if len(it.leaf) != 2 * _TAG or not merkle.verify_inclusion(
            hashed, it.index, proof.size, it.path, proof.root
        ):
            raise ProofInvalid(f"leaf {it.index} is not in the manifest")
    if len(proof.leaves) == 1 and proof.leaves[0].leaf.startswith(wanted):
        return True
    if not _surround(proof, wanted):
        raise ProofInvalid("the leaves are not the ones between which it would stand")
    return False


def sample_bytes(question: str, answer: str) -> bytes:
    """How a question and its answer are a sample."""
    return f"{question}\0{answer}".encode()


def _surround(proof: ManifestProof, wanted: bytes) -> bool:
    """Whether nothing that begins with `wanted` can stand between, before or after the leaves."""
    places = [it.index for it in proof.leaves]
    below = [it.leaf < wanted for it in proof.leaves]
    if any(it.leaf.startswith(wanted) for it in proof.leaves):
        return False
    if proof.size == 0:
        return not places and proof.root == merkle.EMPTY_ROOT
    if len(places) == 2:
        return places[1] == places[0] + 1 and below == [True, False]
    if places == [0]:
        return below == [False] or (proof.size == 1 and below == [True])
    return places == [proof.size - 1] and below == [True]


def _leaf(output: bytes, sample: bytes) -> bytes:
    return output[:_TAG] + hmac.new(output[_TAG:], sample, hashlib.sha256).digest()


def _wanted(output: bytes, sample: bytes | None) -> bytes:
    return output[:_TAG] if sample is None else _leaf(output, sample)


def _commitment(public: bytes, size: int, root: bytes) -> bytes:
    text = {"format": FORMAT, "public": public.hex(), "size": size, "root": root.hex()}
    return hashlib.sha256(canonical_json(text)).digest()


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{value!r} is no count")
    return value
