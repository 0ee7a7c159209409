"""Disclosures: files that show one record, or one fact about a manifest, with its proof.

`rescind ledger prove` writes them. A disclosure reveals nothing else of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core.json_text import parse_json
from rescind.core.names import NameInvalid, canonical_name
from rescind.ledger import merkle
from rescind.ledger.manifest import ManifestProof, check, sample_bytes
from rescind.ledger.notes import Checkpoint, NoteInvalid, Verifier
from rescind.ledger.reading import Proven
from rescind.ledger.records import Record, leaf_bytes
from rescind.ledger.vrf import ProofInvalid

FORMAT, MANIFEST_FORMAT = "rescind.disclosure/1", "rescind.manifest-disclosure/3"
DISCLOSURE_BYTES = 2**26
"""The largest disclosure that is read; a record has at most 16 MiB."""
_DEPTH = 64
"""The longest path: a log has fewer than 2^64 entries."""
_BAD = (NoteInvalid, NameInvalid, KeyError, TypeError, ValueError, AttributeError, RecursionError)
"""Errors that reading a malformed JSON document raises."""


@dataclass(frozen=True)
class Anchored:
    """Where an organization's anchor is on the public chain.

    Attributes:
        contracts: The consortium's contracts.json.
        block_hash: The hash of the block in which they were deployed, which identifies the chain.
        organization: The organization's address.
        transaction: The transaction that anchored; empty where the chain is asked by other names.
    """

    contracts: Mapping[str, Any]
    block_hash: str
    organization: str
    transaction: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {**self.__dict__, "contracts": dict(self.contracts)}

    @classmethod
    def from_json(cls, document: Any) -> Anchored:
        """Read what `to_json` returned; raise ValueError, KeyError or TypeError."""
        if not isinstance(document["contracts"], dict):
            raise ValueError("contracts must be an object of addresses by name")
        texts = (_string(document[name]) for name in ("block_hash", "organization", "transaction"))
        return cls(document["contracts"], *texts)


@dataclass(frozen=True)
class Disclosure:
    """A record with the proof that it is in a log.

    Attributes:
        record: The record.
        salt: The salt of its commitment.
        path: Its RFC 9162 inclusion proof.
        checkpoint: The signed size and root of the log.
        key: The log's public key.
        anchored: The anchor; None when the disclosure was made without a chain.
    """

    record: Record
    salt: bytes
    path: tuple[bytes, ...]
    checkpoint: Checkpoint
    key: Verifier
    anchored: Anchored | None = None

    @classmethod
    def of(cls, proven: Proven, key: Verifier, anchored: Anchored | None = None) -> Disclosure:
        """Return the disclosure of a proved record."""
        return cls(proven.record, proven.salt, proven.path, proven.checkpoint, key, anchored)

    def check(self) -> None:
        """Check everything that needs no chain; raise ProofInvalid or NoteInvalid."""
        self.checkpoint.check_signed(self.key)
        leaf = merkle.leaf_hash(leaf_bytes(self.record, self.salt))
        size, root = self.checkpoint.size, self.checkpoint.root
        if not merkle.verify_inclusion(leaf, self.record.index, size, self.path, root):
            raise ProofInvalid(
                f"record {self.record.index} is not in the log of size {size} and root {root.hex()}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        record = self.record
        return {
            "format": FORMAT,
            "record": {
                "index": record.index,
                "type": record.type,
                "schema": record.schema,
                "time": record.time,
                "subject": record.subject,
                "payload": record.payload,
            },
            "salt": self.salt.hex(),
            "path": [step.hex() for step in self.path],
            "checkpoint": str(self.checkpoint),
            "key": str(self.key),
            "anchor": self.anchored and self.anchored.to_json(),
        }

    @classmethod
    def parse(cls, data: bytes) -> Disclosure:
        """Read a disclosure file; raise ProofInvalid for anything else."""
        document = _document(data, FORMAT)
        try:
            return cls(
                _record(document["record"]),
                bytes.fromhex(document["salt"]),
                _path(document["path"]),
                Checkpoint.parse(document["checkpoint"]),
                Verifier.parse(document["key"]),
                None if document["anchor"] is None else Anchored.from_json(document["anchor"]),
            )
        except _BAD as error:
            raise ProofInvalid(f"this is not a disclosure: {_short(error)}") from error


@dataclass(frozen=True)
class ManifestDisclosure:
    """A proof that data was, or was not, in what an organization trained on in a round.

    Attributes:
        round_id: The round.
        subject: The name of the data subject.
        sample: The texts of one sample of the subject (`sample_bytes`): question and answer, and a
            third for other samples than pairs. None for the subject as a whole.
        commitment: The commitment to the manifest, in hexadecimal. It must be on chain.
        artifact: The id of the delta that was trained on the data and is on chain with it.
        proof: The proof about the manifest.
        anchored: The anchor.
        withdrawal: The withdrawal for which the manifest was registered again; None for the round
            itself and for a replay.
        replay: The replay, by its place in the order of replays, for which it was.
    """

    round_id: int
    subject: str
    sample: tuple[str, ...] | None
    commitment: str
    artifact: str
    proof: ManifestProof
    anchored: Anchored
    withdrawal: int | None = None
    replay: int | None = None

    def occasion(self) -> str:
        """Return the words for when the manifest was registered, such as "in round 3"."""
        if self.withdrawal is not None:
            return f"for round {self.round_id} in withdrawal {self.withdrawal}"
        if self.replay is not None:
            return f"for round {self.round_id} in replay {self.replay}"
        return f"in round {self.round_id}"

    def check(self) -> bool:
        """Return whether the data was in the manifest; raise ProofInvalid for a bad proof."""
        sample = None if self.sample is None else sample_bytes(*self.sample)
        return check(bytes.fromhex(self.commitment), self.proof, self.subject, sample)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "format": MANIFEST_FORMAT,
            "round": self.round_id,
            "withdrawal": self.withdrawal,
            "replay": self.replay,
            "subject": self.subject,
            "sample": self.sample and list(self.sample),
            "commitment": self.commitment,
            "artifact": self.artifact,
            "proof": self.proof.to_json(),
            "anchor": self.anchored.to_json(),
        }

    @classmethod
    def parse(cls, data: bytes) -> ManifestDisclosure:
        """Read a disclosure file; raise ProofInvalid for anything else."""
        document = _document(data, MANIFEST_FORMAT)
        try:
            sample = document["sample"]
            if sample is not None:
                sample = _sample(sample)
            if document["anchor"]["transaction"]:
                raise ValueError("a proof about a manifest rests on no anchoring transaction")
            return cls(
                _whole(document["round"]),
                _name(document["subject"]),
                sample,
                _hash(document["commitment"]),
                _hash(document["artifact"]),
                ManifestProof.from_json(document["proof"]),
                Anchored.from_json(document["anchor"]),
                *_occasion(document),
            )
        except _BAD as error:
            raise ProofInvalid(f"this is not a disclosure: {_short(error)}") from error


def parse(data: bytes) -> Disclosure | ManifestDisclosure:
    """Read either kind of disclosure; raise ProofInvalid for anything else."""
    if _format(data) == MANIFEST_FORMAT:
        return ManifestDisclosure.parse(data)
    return Disclosure.parse(data)


def _document(data: bytes, expected: str) -> Any:
    format_ = _format(data)
    if format_ != expected:
        raise ProofInvalid(
            f"the file has format {_short(format_)!r}, and this version of Rescind reads "
            f"{expected!r}. Ask its owner to make it again."
        )
    return parse_json(data)


def _format(data: bytes) -> Any:
    if len(data) > DISCLOSURE_BYTES:
        raise ProofInvalid(
            f"the file has {len(data)} bytes; a disclosure has at most {DISCLOSURE_BYTES}"
        )
    try:
        return parse_json(data)["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProofInvalid(f"this is not a disclosure: {_short(error)}") from error


def _record(document: Mapping[str, Any]) -> Record:
    index, schema, time = (_whole(document[name]) for name in ("index", "schema", "time"))
    subject, payload = document["subject"], document["payload"]
    if not (subject is None or isinstance(subject, str)) or not isinstance(payload, dict):
        raise ValueError("the payload must be an object, and the subject text or null")
    return Record(index, _string(document["type"]), schema, time, subject, payload)


def _occasion(document: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return the withdrawal or the replay that a manifest was registered for."""
    withdrawal, replay = document["withdrawal"], document["replay"]
    if withdrawal is not None and replay is not None:
        raise ValueError("a manifest is of a withdrawal or of a replay, not of both")
    return (
        None if withdrawal is None else _whole(withdrawal),
        None if replay is None else _whole(replay),
    )


def _sample(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ValueError("a sample must be a list of a question, its answer and at most its kind")
    texts = tuple(_string(text) for text in value)
    if len(texts) == 3 and any("\0" in text for text in texts):
        # NUL separates the texts in `sample_bytes`.
        raise ValueError("the texts of a sample must not hold the character NUL")
    return texts


def _path(steps: Any) -> tuple[bytes, ...]:
    if not isinstance(steps, list) or len(steps) > _DEPTH:
        raise ValueError(f"a path must be a list of at most {_DEPTH} hashes")
    path = tuple(bytes.fromhex(step) for step in steps)
    if any(len(step) != 32 for step in path):
        raise ValueError("a hash of the path must have 32 bytes")
    return path


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise ValueError(f"{_short(value)} is not a whole number from 0 to 2^53")
    return value


def _name(value: object) -> str:
    """Return the name of a data subject; a proof names it in its canonical form alone."""
    name = _string(value)
    if canonical_name(name) != name:
        raise ValueError(f"{_short(repr(name))} is not the canonical form of the subject's name")
    return name


def _hash(value: object) -> str:
    text = _string(value)
    if len(text) != 64 or bytes.fromhex(text).hex() != text:
        raise ValueError(f"{_short(text)!r} is not 32 bytes in lower-case hexadecimal")
    return text


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_short(value)} is not text")
    value.encode()  # Reject a lone surrogate: JSON allows it, UTF-8 does not.
    return value


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
