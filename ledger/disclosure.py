"""One record, shown to somebody with what proves that it is in the log: the file that
`rescind ledger prove` writes. It tells that record and nothing else of the log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.ledger import merkle
from rescind.ledger.log import Proven
from rescind.ledger.manifest import ManifestProof, check, sample_bytes
from rescind.ledger.notes import Checkpoint, NoteInvalid, Verifier
from rescind.ledger.records import Record, leaf_bytes
from rescind.ledger.vrf import ProofInvalid

FORMAT, MANIFEST_FORMAT = "rescind.disclosure/1", "rescind.manifest-disclosure/1"
DISCLOSURE_BYTES = 2**26
_DEPTH = 64
_BAD = (NoteInvalid, KeyError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Anchored:
    """Where on the public chain something of an organization is. `contracts`: the consortium's
    contracts.json; `block_hash`: of the block in which they were deployed, which tells one chain from
    another; `transaction`: that put it there, empty where the chain is asked by other names."""

    contracts: Mapping[str, Any]
    block_hash: str
    organization: str
    transaction: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "contracts": dict(self.contracts)}

    @classmethod
    def from_json(cls, it: Any) -> Anchored:
        """Raises ValueError, KeyError, TypeError."""
        if not isinstance(it["contracts"], dict):
            raise ValueError("contracts are given by name")
        texts = (_string(it[name]) for name in ("block_hash", "organization", "transaction"))
        return cls(it["contracts"], *texts)


@dataclass(frozen=True)
class Disclosure:
    """`key`: of the log, to check its signature. `anchored`: None when it was made without a chain."""

    record: Record
    salt: bytes
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    key: Verifier
    anchored: Anchored | None = None

    @classmethod
    def of(cls, it: Proven, key: Verifier, anchored: Anchored | None = None) -> Disclosure:
        return cls(it.record, it.salt, it.path, it.checkpoint, key, anchored)

    def check(self) -> None:
        """All that needs no chain. Raises ProofInvalid, NoteInvalid."""
        self.checkpoint.check_signed(self.key)
        leaf = merkle.leaf_hash(leaf_bytes(self.record, self.salt))
        size, root = self.checkpoint.size, self.checkpoint.root
        if not merkle.verify_inclusion(leaf, self.record.index, size, self.path, root):
            raise ProofInvalid(
                f"record {self.record.index} is not the one in the log of size {size} and root {root.hex()}"
            )

    def to_json(self) -> dict[str, Any]:
        it = self.record
        return {
            "format": FORMAT,
            "record": {
                "index": it.index,
                "type": it.type,
                "schema": it.schema,
                "time": it.time,
                "subject": it.subject,
                "payload": it.payload,
            },
            "salt": self.salt.hex(),
            "path": [step.hex() for step in self.path],
            "checkpoint": str(self.checkpoint),
            "key": str(self.key),
            "anchor": self.anchored and self.anchored.to_json(),
        }

    @classmethod
    def parse(cls, data: bytes) -> Disclosure:
        """Raises ProofInvalid for whatever is not such a file."""
        document = _document(data, FORMAT)
        try:
            return cls(
                _record(document["record"]),
                bytes.fromhex(document["salt"]),
                _path(document["path"]),
                Checkpoint.parse(document["checkpoint"]),
                Verifier.parse(document["key"]),
                Anchored.from_json(document["anchor"]) if document["anchor"] else None,
            )
        except _BAD as error:
            raise ProofInvalid(f"not a disclosure: {_short(error)}") from error


@dataclass(frozen=True)
class ManifestDisclosure:
    """That a data subject, or one `sample` (question and answer) of it, was in what an organization trained
    on in a round, or was not. `commitment`: of the manifest that is meant, which must be on chain."""

    round_id: int
    subject: str
    sample: tuple[str, str] | None
    commitment: str
    proof: ManifestProof
    anchored: Anchored

    def check(self) -> bool:
        """Whether it was in, if the manifest is the one on chain. Raises ProofInvalid."""
        sample = self.sample and sample_bytes(*self.sample)
        return check(bytes.fromhex(self.commitment), self.proof, self.subject, sample)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": MANIFEST_FORMAT,
            "round": self.round_id,
            "subject": self.subject,
            "sample": self.sample and list(self.sample),
            "commitment": self.commitment,
            "proof": self.proof.to_json(),
            "anchor": self.anchored.to_json(),
        }

    @classmethod
    def parse(cls, data: bytes) -> ManifestDisclosure:
        """Raises ProofInvalid for whatever is not such a file."""
        document = _document(data, MANIFEST_FORMAT)
        try:
            sample = document["sample"]
            if sample is not None:
                if not isinstance(sample, list):
                    raise ProofInvalid("a sample is a question and its answer")
                question, answer = map(_string, sample)
                sample = (question, answer)
            return cls(
                _whole(document["round"]),
                _string(document["subject"]),
                sample,
                bytes.fromhex(document["commitment"]).hex(),
                ManifestProof.from_json(document["proof"]),
                Anchored.from_json(document["anchor"]),
            )
        except _BAD as error:
            raise ProofInvalid(f"not a disclosure: {_short(error)}") from error


def parse(data: bytes) -> Disclosure | ManifestDisclosure:
    """Either kind of file. Raises ProofInvalid."""
    if _format(data) == MANIFEST_FORMAT:
        return ManifestDisclosure.parse(data)
    return Disclosure.parse(data)


def _document(data: bytes, expected: str) -> Any:
    found = _format(data)
    if found != expected:
        raise ProofInvalid(f"{_short(found)!r} is not {expected!r}")
    return json.loads(data)


def _format(data: bytes) -> Any:
    if len(data) > DISCLOSURE_BYTES:
        raise ProofInvalid(f"{len(data)} bytes: a disclosure has {DISCLOSURE_BYTES} at most")
    try:
        return json.loads(data)["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProofInvalid(f"not a disclosure: {_short(error)}") from error


def _record(it: Mapping[str, Any]) -> Record:
    index, schema, time = (_whole(it[name]) for name in ("index", "schema", "time"))
    subject, payload = it["subject"], it["payload"]
    if not (subject is None or isinstance(subject, str)) or not isinstance(payload, dict):
        raise ValueError("a record has a payload, and a subject or none")
    return Record(index, _string(it["type"]), schema, time, subject, payload)


def _path(steps: Any) -> tuple[bytes, ...]:
    if not isinstance(steps, list) or len(steps) > _DEPTH:
        raise ValueError(f"a path of {_DEPTH} hashes at most is a list")
    found = tuple(bytes.fromhex(step) for step in steps)
    if any(len(step) != 32 for step in found):
        raise ValueError("a hash has 32 bytes")
    return found


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{_short(value)} is no whole number")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_short(value)} is no text")
    value.encode()  # Half of a surrogate pair is JSON, and no text.
    return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
