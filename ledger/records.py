"""Records, and what of them is committed to.

leaf       = canonical JSON of index, type, schema, time and commitment
commitment = SHA-256(salt || canonical JSON of payload and subject), salt of 32 random bytes
box        = AES-256-GCM(data key, canonical JSON of payload, subject and salt)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError

_SALT = 32
PAYLOAD_BYTES = 2**24


@dataclass(frozen=True)
class RecordType:
    """`needs`: what a payload must have."""

    schema: int
    needs: tuple[str, ...] = ()


RECORD_TYPES: Mapping[str, RecordType] = {
    "backup": RecordType(1, ("path", "size", "root")),
    "consent": RecordType(1, ("event",)),
    "decision": RecordType(1, ("round",)),
    "disclosure": RecordType(1, ("to",)),
    "manifest": RecordType(1, ("round", "commitment")),
    "privacy-budget": RecordType(1, ("epsilon", "delta")),
    "reward": RecordType(1, ("round",)),
    "tombstone": RecordType(1, ("keys",)),
    "training-run": RecordType(1, ("round",)),
    "withdrawal": RecordType(1, ("withdrawal", "event")),
}
"""What this version writes. Others are kept and shown as they are."""


class RecordUnreadable(LedgerError):
    code = "ledger-record-unreadable"


@dataclass(frozen=True)
class Record:
    """One entry, decrypted. `time` is Unix seconds; `subject` is whose data it speaks of, if any."""

    index: int
    type: str
    schema: int
    time: int
    subject: str | None
    payload: dict[str, Any]


@dataclass(frozen=True)
class Shredded:
    """What is left of a record whose key was destroyed."""

    index: int
    type: str
    schema: int
    time: int


@dataclass(frozen=True)
class Committed:
    """A record as it is committed to, and what is to be encrypted of it."""

    leaf: bytes
    inside: bytes


def check_payload(type_: str, payload: Mapping[str, object]) -> None:
    """Raises LedgerError for a record that this version must not write."""
    known = RECORD_TYPES.get(type_)
    if known is None:
        raise LedgerError(f"unknown record type {type_!r}: one of {', '.join(RECORD_TYPES)}")
    lacking = [name for name in known.needs if name not in payload]
    if lacking:
        raise LedgerError(f"a record of type {type_} must say {', '.join(lacking)}")
    try:
        size = len(canonical_json(dict(payload)))
    except (TypeError, ValueError) as error:
        raise LedgerError(f"the payload of a {type_} is no JSON: {error}") from error
    if size > PAYLOAD_BYTES:
        raise LedgerError(f"the payload has {size} bytes, {PAYLOAD_BYTES} is the most")


def check_names(*names: str | None) -> None:
    """Raises LedgerError for what is no text, or empty."""
    for name in names:
        if name is None:
            continue
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise LedgerError(f"{name!r} is no text: {error.reason}") from error
        if not name:
            raise LedgerError("a subject and an idempotency key are not empty: leave them out")


def commitment(salt: bytes, subject: str | None, payload: Mapping[str, object]) -> str:
    text = canonical_json({"payload": payload, "subject": subject})
    return hashlib.sha256(salt + text).hexdigest()


def leaf_bytes(record: Record, salt: bytes) -> bytes:
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


def commit(record: Record) -> Committed:
    salt = os.urandom(_SALT)
    inside = {"payload": record.payload, "subject": record.subject, "salt": salt.hex()}
    return Committed(leaf_bytes(record, salt), canonical_json(inside))


def open_committed(index: int, leaf: bytes, inside: bytes) -> tuple[Record, bytes]:
    """The record, and its salt. Raises RecordUnreadable when it is not the one its leaf commits to."""
    try:
        head, body = json.loads(leaf), json.loads(inside)
        salt = bytes.fromhex(body["salt"])
        record = Record(
            index, head["type"], head["schema"], head["time"], body["subject"], body["payload"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(f"record {index} is damaged: {error}") from error
    if leaf != leaf_bytes(record, salt):
        raise RecordUnreadable(f"record {index} is not the one that its leaf commits to")
    return record, salt


def shredded_record(index: int, leaf: bytes) -> Shredded:
    """Raises RecordUnreadable."""
    try:
        head = json.loads(leaf)
        found = Shredded(head["index"], head["type"], head["schema"], head["time"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(f"record {index} is damaged: {error}") from error
    if found.index != index:
        raise RecordUnreadable(f"the leaf of record {index} says that it is record {found.index}")
    return found
