"""Records as they rest: encrypted, each under a data key of its own, committed to by a leaf.

leaf     = canonical JSON of index, type, schema, time and commitment
commitment = SHA-256(salt || canonical JSON of the payload), salt of 32 random bytes
box      = AES-256-GCM(data key, canonical JSON of payload, subject and salt)
wrapped  = AES-256-GCM(master key, data key)
Both are bound to the log id and the index as associated data (NIST SP 800-38D).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.errors import LedgerError

_NONCE = 12
_SALT = 32


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
    payload: dict[str, object]


@dataclass(frozen=True)
class Sealed:
    leaf: bytes
    wrapped_key: bytes
    box: bytes


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def commitment(salt: bytes, payload: Mapping[str, object]) -> str:
    return hashlib.sha256(salt + canonical(payload)).hexdigest()


def leaf_bytes(index: int, type_: str, schema: int, time: int, committed: str) -> bytes:
    return canonical(
        {"index": index, "type": type_, "schema": schema, "time": time, "commitment": committed}
    )


def seal(record: Record, *, log_id: str, master_key: bytes) -> Sealed:
    salt, data_key = os.urandom(_SALT), AESGCM.generate_key(bit_length=256)
    bound = _associated(log_id, record.index)
    committed = commitment(salt, record.payload)
    inside = canonical({"payload": record.payload, "subject": record.subject, "salt": salt.hex()})
    return Sealed(
        leaf=leaf_bytes(record.index, record.type, record.schema, record.time, committed),
        wrapped_key=_encrypt(master_key, data_key, bound),
        box=_encrypt(data_key, inside, bound),
    )


def unseal(sealed: Sealed, index: int, *, log_id: str, master_key: bytes) -> Record:
    """Raises RecordUnreadable when the key is wrong or any byte was changed."""
    bound = _associated(log_id, index)
    try:
        inside = json.loads(
            _decrypt(_decrypt(master_key, sealed.wrapped_key, bound), sealed.box, bound)
        )
        head = json.loads(sealed.leaf)
    except (InvalidTag, ValueError) as error:
        raise RecordUnreadable(
            f"record {index} does not decrypt: the key is another ledger's, or its bytes were changed"
        ) from error
    committed = commitment(bytes.fromhex(inside["salt"]), inside["payload"])
    if sealed.leaf != leaf_bytes(index, head["type"], head["schema"], head["time"], committed):
        raise RecordUnreadable(f"record {index} is not the one that its leaf commits to")
    return Record(
        index, head["type"], head["schema"], head["time"], inside["subject"], inside["payload"]
    )


def _associated(log_id: str, index: int) -> bytes:
    return f"rescind.ledger/1|{log_id}|{index}".encode()


def _encrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def _decrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    if len(data) <= _NONCE:
        raise ValueError("too short")
    return AESGCM(key).decrypt(data[:_NONCE], data[_NONCE:], bound)
