"""Manifest of the data that a round was trained on: a sorted Merkle tree of commitments to samples.

A leaf is the tag of a sample's subject and, under a key of that subject, the MAC of the sample:

    output = VRF(secret key, subject);  tag = output[:32]
    leaf = tag || HMAC-SHA256(output[32:], sample)

The owner can prove that a subject or a sample is in a manifest, or that it is not: its neighbours
stand side by side. A proof about one subject lets its reader neither test for another subject nor
see how many samples it has. The VRF guarantees that a name has only one tag; a salted hash could
not give both properties.
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
"""Bytes of a tag, and of a MAC."""


@dataclass(frozen=True)
class Neighbour:
    """A leaf that a proof shows.

    Attributes:
        index: Its index among the sorted leaves.
        leaf: Its 64 bytes.
        path: Its RFC 9162 inclusion proof.
    """

    index: int
    leaf: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class ManifestProof:
    """A proof about one subject or one sample.

    Attributes:
        public: The public VRF key of the manifest.
        size: The number of leaves.
        root: Their root.
        vrf: The VRF proof of the subject's output.
        leaves: The leaf itself, or the leaves that it would stand between.
    """

    public: bytes
    size: int
    root: bytes
    vrf: bytes
    leaves: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the proof as a JSON object."""
        return {
            "format": FORMAT,
            "public": self.public.hex(),
            "size": self.size,
            "root": self.root.hex(),
            "vrf": self.vrf.hex(),
            "leaves": [
                {"index": leaf.index, "leaf": leaf.leaf.hex(), "path": [p.hex() for p in leaf.path]}
                for leaf in self.leaves
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ManifestProof:
        """Read what `to_json` returned; raise ProofInvalid for anything else."""
        try:
            if document["format"] != FORMAT:
                raise ProofInvalid(
                    f"the proof has format {document['format']!r}; this version reads {FORMAT!r}"
                )
            leaves = tuple(
                Neighbour(
                    _count(leaf["index"]),
                    bytes.fromhex(leaf["leaf"]),
                    tuple(map(bytes.fromhex, leaf["path"])),
                )
                for leaf in document["leaves"]
            )
            fields = (bytes.fromhex(document[name]) for name in ("public", "root", "vrf"))
            public, root, vrf = fields
            return cls(public, _count(document["size"]), root, vrf, leaves)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"this is not a proof about a manifest: {error}") from error


class Manifest:
    """The manifest of one round, with the secret that proofs are made from.

    Args:
        leaves: 64 bytes each, ascending.
        secret: 32 bytes. With the same secret the same samples give the same manifest.
    """

    def __init__(self, leaves: Sequence[bytes], secret: bytes) -> None:
        self._secret, self._key = secret, VrfKey(secret)
        self._leaves = list(leaves)
        self._subtree = merkle.subtrees_of([merkle.leaf_hash(leaf) for leaf in self._leaves])

    @classmethod
    def of(cls, samples: Iterable[tuple[str, bytes]], secret: bytes) -> Self:
        """Return the manifest of pairs of subject and sample bytes; a repeated pair counts once."""
        key, outputs, leaves = VrfKey(secret), dict[str, bytes](), set[bytes]()
        for subject, sample in samples:
            if subject not in outputs:
                outputs[subject] = output(key.prove(subject.encode()))
            leaves.add(_leaf(outputs[subject], sample))
        return cls(sorted(leaves), secret)

    def to_json(self) -> dict[str, Any]:
        """Return what a ledger keeps, to prove from later."""
        leaves = base64.b64encode(b"".join(self._leaves)).decode()
        public = {"commitment": self.commitment.hex(), "size": self.size}
        return {**public, "secret": self._secret.hex(), "leaves": leaves}

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned; raise ProofInvalid for anything else."""
        try:
            raw = base64.b64decode(payload["leaves"], validate=True)
            size = 2 * _TAG
            leaves = [raw[at : at + size] for at in range(0, len(raw), size)]
            manifest = cls(leaves, bytes.fromhex(payload["secret"]))
            commitment = bytes.fromhex(payload["commitment"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"this is not a manifest: {error}") from error
        if manifest.commitment != commitment:
            raise ProofInvalid("the leaves of the manifest do not match its commitment")
        return manifest

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._leaves)

    @property
    def commitment(self) -> bytes:
        """The SHA-256 that goes on chain."""
        return _commitment(self._key.public, self.size, self._root)

    @property
    def _root(self) -> bytes:
        return merkle.root(self.size, self._subtree)

    def prove(self, subject: str, sample: bytes | None = None) -> ManifestProof:
        """Prove that a subject, or one sample of it, is in the manifest or is not."""
        vrf = self._key.prove(subject.encode())
        wanted = _wanted(output(vrf), sample)
        index = bisect_left(self._leaves, wanted)
        if index < self.size and self._leaves[index].startswith(wanted):
            shown = [index]
        else:
            shown = [near for near in (index - 1, index) if 0 <= near < self.size]
        leaves = tuple(
            Neighbour(
                near,
                self._leaves[near],
                tuple(merkle.inclusion_proof(near, self.size, self._subtree)),
            )
            for near in shown
        )
        return ManifestProof(self._key.public, self.size, self._root, vrf, leaves)


def check(
    commitment: bytes, proof: ManifestProof, subject: str, sample: bytes | None = None
) -> bool:
    """Return whether a subject, or a sample of it, is in the manifest with a commitment.

    Raises:
        ProofInvalid: The proof shows neither.
    """
    if _commitment(proof.public, proof.size, proof.root) != commitment:
        raise ProofInvalid("the proof is about another manifest: its commitment differs")
    wanted = _wanted(verify(proof.public, subject.encode(), proof.vrf), sample)
    for shown in proof.leaves:
        hashed = merkle.leaf_hash(shown.leaf)
        if len(shown.leaf) != 2 * _TAG or not merkle.verify_inclusion(
            hashed, shown.index, proof.size, shown.path, proof.root
        ):
            raise ProofInvalid(f"leaf {shown.index} of the proof is not in the manifest")
    if len(proof.leaves) == 1 and proof.leaves[0].leaf.startswith(wanted):
        return True
    if not _surround(proof, wanted):
        raise ProofInvalid(
            "the leaves of the proof are not those that the subject or sample would stand between"
        )
    return False


def sample_bytes(question: str, answer: str) -> bytes:
    """Return the bytes of a question and its answer as a sample."""
    return f"{question}\0{answer}".encode()


def _surround(proof: ManifestProof, wanted: bytes) -> bool:
    """Return whether no leaf that begins with `wanted` can stand between, before or after these."""
    indices = [shown.index for shown in proof.leaves]
    below = [shown.leaf < wanted for shown in proof.leaves]
    if any(shown.leaf.startswith(wanted) for shown in proof.leaves):
        return False
    if proof.size == 0:
        return not indices and proof.root == merkle.EMPTY_ROOT
    # Neighbours in the sorted tree, one on each side: the leaf would stand between them.
    if len(indices) == 2:
        return indices[1] == indices[0] + 1 and below == [True, False]
    # One leaf alone: before the first, or after the last.
    if indices == [0]:
        return below == [False] or (proof.size == 1 and below == [True])
    return indices == [proof.size - 1] and below == [True]


def _leaf(output: bytes, sample: bytes) -> bytes:
    return output[:_TAG] + hmac.new(output[_TAG:], sample, hashlib.sha256).digest()


def _wanted(output: bytes, sample: bytes | None) -> bytes:
    return output[:_TAG] if sample is None else _leaf(output, sample)


def _commitment(public: bytes, size: int, root: bytes) -> bytes:
    text = {"format": FORMAT, "public": public.hex(), "size": size, "root": root.hex()}
    return hashlib.sha256(canonical_json(text)).digest()


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{value!r} is not a whole number from 0 to 2^53")
    return value
