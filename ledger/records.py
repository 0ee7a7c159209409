"""Records, and their commitments in the leaves of the tree.

leaf       = canonical JSON of index, type, schema, time and commitment
commitment = SHA-256(salt || canonical JSON of payload and subject), salt of 32 random bytes
box        = AES-256-GCM(data key, canonical JSON of payload, subject, salt and idempotency key)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.json_text import parse_json

_SALT = 32
"""Bytes of a salt. Without it, a guessed payload could be tested against a leaf."""
PAYLOAD_BYTES = 2**24
"""The largest payload, as canonical JSON."""


@dataclass(frozen=True)
class RecordType:
    """A type of record that this version writes.

    Attributes:
        schema: The version of the payload's schema.
        needs: Fields that a payload must have.
    """

    schema: int
    needs: tuple[str, ...] = ()


RECORD_TYPES: Mapping[str, RecordType] = {
    "backup": RecordType(1, ("path", "size", "root")),
    "consent": RecordType(1, ("event",)),
    "decision": RecordType(1, ("round",)),
    "disclosure": RecordType(1, ("to",)),
    "erasure": RecordType(1, ("withdrawal", "files")),
    "manifest": RecordType(2, ("round", "commitment")),
    "privacy-budget": RecordType(1, ("epsilon", "delta")),
    "renewal": RecordType(1, ("old_log", "key", "checkpoint")),
    "reward": RecordType(1, ("round",)),
    "tombstone": RecordType(1, ("keys",)),
    "training-run": RecordType(1, ("round",)),
    # About a withdrawal or a replay, which has the field of its name.
    "withdrawal": RecordType(1, ("event",)),
}
"""The types that this version writes. Records of other types are kept and shown unchanged."""


class RecordUnreadable(LedgerError):
    """A stored record or its key cannot be decrypted, or does not match its leaf."""

    code = "ledger-record-unreadable"


@dataclass(frozen=True)
class Record:
    """A decrypted entry.

    Attributes:
        index: The entry's index in the log, from 0.
        type: A key of RECORD_TYPES, or a type of a later version.
        schema: The version of the payload's schema.
        time: When the record was appended, in Unix seconds.
        subject: The name of the person whose data the record is about, if any.
        payload: The fields of the record.
    """

    index: int
    type: str
    schema: int
    time: int
    subject: str | None
    payload: dict[str, Any]


@dataclass(frozen=True)
class Shredded:
    """The part of a record that remains when its key is destroyed."""

    index: int
    type: str
    schema: int
    time: int


@dataclass(frozen=True)
class Committed:
    """A record as it is stored.

    Attributes:
        leaf: The bytes of the leaf, in the clear.
        inside: The content that the leaf commits to, to be encrypted.
    """

    leaf: bytes
    inside: bytes


def check_payload(type_: str, payload: Mapping[str, object]) -> None:
    """Check that this version may write a record.

    Raises:
        LedgerError: The type is unknown, or the payload is not JSON, too large or lacks a field.
    """
    record_type = RECORD_TYPES.get(type_)
    if record_type is None:
        raise LedgerError(
            f"record type {type_!r} is unknown; use one of: {', '.join(RECORD_TYPES)}"
        )
    missing = [name for name in record_type.needs if name not in payload]
    if missing:
        fields = "field" if len(missing) == 1 else "fields"
        names = ", ".join(repr(name) for name in missing)
        raise LedgerError(f"a {type_} record is missing the required {fields} {names}")
    try:
        size = len(canonical_json(dict(payload)))
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"the payload of a {type_} record cannot be written as JSON: {error}"
        ) from error
    if size > PAYLOAD_BYTES:
        raise LedgerError(f"the payload has {size} bytes; at most {PAYLOAD_BYTES} are allowed")


def check_key(key: str | None) -> None:
    """Check an idempotency key; None stands for no key.

    Raises:
        LedgerError: It is empty or not valid Unicode.
    """
    if key is None:
        return
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise LedgerError(
            f"an idempotency key is not valid Unicode text: {error.reason} at character "
            f"{error.start + 1}"
        ) from None
    if not key:
        raise LedgerError("an idempotency key is empty: pass one, or leave it out")


def commitment(salt: bytes, subject: str | None, payload: Mapping[str, object]) -> str:
    """Return the commitment to a payload and its subject, in hexadecimal."""
    text = canonical_json({"payload": payload, "subject": subject})
    return hashlib.sha256(salt + text).hexdigest()


def leaf_bytes(record: Record, salt: bytes) -> bytes:
    """Return the leaf of a record under a salt."""
    committed = commitment(salt, record.subject, record.payload)
    return canonical_json(
        {
            "index": record.index,
            "type": record.type,
            "schema": record.schema,
            "time": record.time,
            "commitment": committed,
        }
    )


def commit(record: Record, once: str | None = None) -> Committed:
    """Commit to a record under a fresh salt.

    Args:
        record: The record.
        once: Its idempotency key. It is encrypted with the record, so that the hash can be made
            again under another key, and is not part of the leaf.
    """
    salt = os.urandom(_SALT)
    inside = {"payload": record.payload, "subject": record.subject, "salt": salt.hex()}
    if once is not None:
        inside["once"] = once
    return Committed(leaf_bytes(record, salt), canonical_json(inside))


def open_committed(index: int, leaf: bytes, inside: bytes) -> tuple[Record, bytes]:
    """Decode a decrypted record and check it against its leaf.

    Returns:
        The record and its salt.

    Raises:
        RecordUnreadable: The content is damaged or is not what the leaf commits to.
    """
    try:
        header, body = parse_json(leaf), parse_json(inside)
        salt = bytes.fromhex(body["salt"])
        record = Record(
            index,
            header["type"],
            header["schema"],
            header["time"],
            body["subject"],
            body["payload"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(f"record {index} is damaged: {error}") from error
    if leaf != leaf_bytes(record, salt):
        raise RecordUnreadable(f"record {index} does not match the commitment in its leaf")
    return record, salt


def shredded_record(index: int, leaf: bytes) -> Shredded:
    """Read what a leaf shows of a record without its key.

    Raises:
        RecordUnreadable: The leaf is damaged or carries another index.
    """
    try:
        header = parse_json(leaf)
        shredded = Shredded(header["index"], header["type"], header["schema"], header["time"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(f"record {index} is damaged: {error}") from error
    if shredded.index != index:
        raise RecordUnreadable(f"the leaf of record {index} carries the index {shredded.index}")
    return shredded
