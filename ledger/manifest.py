"""Manifest of the data that a round was trained on: a sparse Merkle tree of subjects and samples.

A data subject has one key in the tree, and each of its samples another. Both come from the output of
a verifiable random function for the subject's canonical name:

    output = VRF(secret key, name);  key of the subject = output[:32]
    key of a sample = HMAC-SHA256(output[32:], sample)

The owner can prove that a subject or a sample is in a manifest, or that it is not, and one
commitment allows one of the two answers only: a name has one output, an output has one key, and a
key has one position in the tree. A sample is proved together with its subject, so "the sample is in"
and "the subject is not" exclude each other too.

A proof about one subject lets its reader neither test for another subject nor see how many samples
it has: samples are keys among all others and are not kept below their subject.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from rescind.core.canonical_json import canonical_json
from rescind.core.names import canonical_name
from rescind.ledger.sparse_tree import KEY_BYTES, PathProof, SparseTree
from rescind.ledger.vrf import PROOF_BYTES, ProofInvalid, VrfKey, output, verify

FORMAT = "rescind.manifest/2"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class ManifestProof:
    """A proof about one subject or one sample.

    Attributes:
        public: The public VRF key of the manifest.
        root: The root of its tree.
        vrf: The VRF proof of the subject's output.
        path: The path of the subject's or the sample's key.
        subject_path: The path of the subject's key, in a proof that a sample is in the manifest.
    """

    public: bytes
    root: bytes
    vrf: bytes
    path: PathProof
    subject_path: PathProof | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the proof as a JSON object."""
        return {
            "format": FORMAT,
            "public": self.public.hex(),
            "root": self.root.hex(),
            "vrf": self.vrf.hex(),
            "path": self.path.to_json(),
            "subject_path": self.subject_path and self.subject_path.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ManifestProof:
        """Read what `to_json` returned; raise ProofInvalid for anything else."""
        try:
            _check_format("the proof", document["format"])
            subject_path = document["subject_path"]
            proof = cls(
                _hex(document["public"], KEY_BYTES),
                _hex(document["root"], KEY_BYTES),
                _hex(document["vrf"], PROOF_BYTES),
                PathProof.from_json(document["path"]),
                None if subject_path is None else PathProof.from_json(subject_path),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"this is not a proof about a manifest: {error}") from error
        if set(document) != set(proof.to_json()):
            raise ProofInvalid("the proof has fields that a proof about a manifest does not have")
        return proof


class Manifest:
    """The manifest of one round, with the secret that proofs are made from.

    Args:
        keys: The keys of subjects and samples, 32 bytes each, in any order.
        secret: 32 bytes. With the same secret the same samples give the same manifest.
    """

    def __init__(self, keys: Iterable[bytes], secret: bytes) -> None:
        self._secret, self._key = secret, VrfKey(secret)
        self._tree = SparseTree(keys)

    @classmethod
    def of(cls, samples: Iterable[tuple[str, bytes]], secret: bytes) -> Self:
        """Return the manifest of pairs of subject and sample bytes; a repeated pair counts once.

        Raises:
            NameInvalid: The name of a subject is not valid.
        """
        key, outputs, keys = VrfKey(secret), dict[str, bytes](), set[bytes]()
        for subject, sample in samples:
            if subject not in outputs:
                outputs[subject] = output(key.prove(canonical_name(subject).encode()))
                keys.add(outputs[subject][:KEY_BYTES])
            keys.add(_sample_key(outputs[subject], sample))
        return cls(keys, secret)

    def to_json(self) -> dict[str, Any]:
        """Return what a ledger keeps, to prove from later."""
        return {
            "format": FORMAT,
            "commitment": self.commitment.hex(),
            "secret": self._secret.hex(),
            "keys": base64.b64encode(b"".join(self._tree.keys)).decode(),
        }

    @classmethod
    def from_json(cls, payload: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned; other fields are ignored.

        Raises:
            ProofInvalid: It is something else, or was written by an earlier version.
        """
        try:
            _check_format("the manifest", payload.get("format", "rescind.manifest/1"))
            raw = base64.b64decode(payload["keys"], validate=True)
            secret = _hex(payload["secret"], _SECRET_BYTES)
            commitment = _hex(payload["commitment"], KEY_BYTES)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofInvalid(f"this is not a manifest: {error}") from error
        keys = [raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)]
        if len(raw) % KEY_BYTES or any(a >= b for a, b in pairwise(keys)):
            raise ProofInvalid(
                f"this is not a manifest: its keys are not {KEY_BYTES} bytes each, ascending"
            )
        manifest = cls(keys, secret)
        if manifest.commitment != commitment:
            raise ProofInvalid("the keys of the manifest do not match its commitment")
        return manifest

    @property
    def commitment(self) -> bytes:
        """The SHA-256 that goes on chain."""
        return _commitment(self._key.public, self.root)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return self._tree.root

    def prove(self, subject: str, sample: bytes | None = None) -> ManifestProof:
        """Prove that a subject, or one sample of it, is in the manifest or is not.

        Raises:
            NameInvalid: The subject's name is not valid.
        """
        vrf = self._key.prove(canonical_name(subject).encode())
        subject_path = self._tree.prove(output(vrf)[:KEY_BYTES])
        public, root = self._key.public, self.root
        if sample is None:
            return ManifestProof(public, root, vrf, subject_path)
        path = self._tree.prove(_sample_key(output(vrf), sample))
        # Of a sample that is not in, the subject is not shown: it may have others.
        return ManifestProof(public, root, vrf, path, subject_path if path.inside else None)


def check(
    commitment: bytes, proof: ManifestProof, subject: str, sample: bytes | None = None
) -> bool:
    """Return whether a subject, or a sample of it, is in the manifest with a commitment.

    Raises:
        NameInvalid: The subject's name is not valid.
        ProofInvalid: The proof shows neither.
    """
    # 1. The commitment fixes the VRF key and the root.
    if _commitment(proof.public, proof.root) != commitment:
        raise ProofInvalid("the proof is about another manifest: its commitment differs")
    # 2. The VRF key and the name fix the output, and that the key in the tree.
    held = verify(proof.public, canonical_name(subject).encode(), proof.vrf)
    wanted = held[:KEY_BYTES] if sample is None else _sample_key(held, sample)
    # 3. The root fixes whether the key is in the tree.
    _check_path(proof.path, wanted, proof.root)
    # 4. A sample is in only with its subject.
    if (proof.subject_path is not None) != (sample is not None and proof.path.inside):
        raise ProofInvalid("a proof shows the subject's own path if a sample is in, and only then")
    if proof.subject_path is not None:
        if not proof.subject_path.inside:
            raise ProofInvalid("the manifest holds the sample and not its subject")
        _check_path(proof.subject_path, held[:KEY_BYTES], proof.root)
    return proof.path.inside


def sample_bytes(*texts: str) -> bytes:
    """Return the bytes of a sample: its question, its answer, and its kind if it is not a pair.

    They are `Example.content` of `rescind.training`.
    """
    return "\0".join(texts).encode()


def _check_path(path: PathProof, key: bytes, root: bytes) -> None:
    path.check(key)
    if path.root(key) != root:
        raise ProofInvalid("the path of the proof does not lead to the manifest's root")


def _sample_key(held: bytes, sample: bytes) -> bytes:
    return hmac.new(held[KEY_BYTES:], sample, hashlib.sha256).digest()


def _commitment(public: bytes, root: bytes) -> bytes:
    text = {"format": FORMAT, "public": public.hex(), "root": root.hex()}
    return hashlib.sha256(canonical_json(text)).digest()


def _check_format(name: str, format_: object) -> None:
    if format_ != FORMAT:
        raise ProofInvalid(
            f"{name} has format {str(format_)[:40]!r}, and this version reads {FORMAT!r}. Use the "
            "version of Rescind that wrote it."
        )


def _hex(text: str, size: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != size or value.hex() != text:
        raise ValueError(f"{str(text)[:80]!r} is not {size} bytes in lower-case hexadecimal")
    return value
