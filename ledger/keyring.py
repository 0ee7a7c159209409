"""The keys between the master key and the records.

master key -> secrets of the log (one key to wrap with, one to hash with, one to sign with)
           -> a key for each category and data subject
           -> a data key for each record
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any, Self

import sqlalchemy as sql
from cryptography.exceptions import InvalidTag

from rescind.core.canonical_json import canonical_json
from rescind.ledger import schema
from rescind.ledger.encryption import decrypt, encrypt, new_key
from rescind.ledger.keys import LedgerKeyError, MasterKey
from rescind.ledger.records import RecordUnreadable

_NOBODY = ""


@dataclass(frozen=True)
class Secrets:
    """`wrapping`, `hashing`: 32 bytes each; `signing`: an Ed25519 seed."""

    wrapping: bytes = field(repr=False)
    hashing: bytes = field(repr=False)
    signing: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(new_key(), new_key(), new_key())

    def rewrapped(self) -> Secrets:
        """The same log, under another key to wrap with."""
        return Secrets(new_key(), self.hashing, self.signing)

    def wrap(self, master: MasterKey, log_id: str) -> bytes:
        text = {name: getattr(self, name).hex() for name in ("wrapping", "hashing", "signing")}
        return master.wrap(canonical_json(text), _context(log_id))

    @classmethod
    def unwrap(cls, wrapped: bytes, master: MasterKey, log_id: str) -> Self:
        """Raises LedgerKeyError."""
        try:
            text = json.loads(master.unwrap(wrapped, _context(log_id)))
            return cls(*(bytes.fromhex(text[it]) for it in ("wrapping", "hashing", "signing")))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerKeyError("the secrets of the ledger are damaged") from error

    def hash(self, what: str, text: str) -> str:
        """A keyed hash of a name, which tells nothing to whoever has only the database."""
        return hmac.new(self.hashing, f"{what}|{text}".encode(), hashlib.sha256).hexdigest()

    def subject(self, name: str | None) -> str:
        return _NOBODY if name is None else self.hash("subject", name)

    def mac(self, value: object) -> bytes:
        return hmac.new(self.hashing, b"log|" + canonical_json(value), hashlib.sha256).digest()


@dataclass(frozen=True)
class SubjectKey:
    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Keyring:
    log_id: str
    secrets: Secrets

    def make(
        self, category: str, subject: str, identifier: str
    ) -> tuple[SubjectKey, dict[str, Any]]:
        """A new key, and its row."""
        made = SubjectKey(identifier, new_key())
        wrapped = encrypt(self.secrets.wrapping, made.key, self._bound(made.id, category, subject))
        row = {"id": made.id, "category": category, "subject": subject, "wrapped": wrapped}
        return made, row

    def open(self, row: sql.Row[Any]) -> SubjectKey:
        """Raises RecordUnreadable for a row that was changed."""
        try:
            bound = self._bound(row.id, row.category, row.subject)
            return SubjectKey(row.id, decrypt(self.secrets.wrapping, bytes(row.wrapped), bound))
        except (InvalidTag, ValueError) as error:
            raise RecordUnreadable(
                f"key {row.id} does not unwrap: its bytes were changed"
            ) from error

    def lock(
        self, key: SubjectKey, index: int, once: str | None, inside: bytes
    ) -> tuple[bytes, bytes]:
        """A record's data key, wrapped, and the record under it."""
        data_key = new_key()
        bound = self._of_entry(index, key.id, once)
        return encrypt(key.key, data_key, bound), encrypt(data_key, inside, bound)

    def unlock(self, key: SubjectKey, row: sql.Row[Any]) -> bytes:
        """Raises RecordUnreadable."""
        bound = self._of_entry(row.position, row.key, row.once)
        try:
            data_key = decrypt(key.key, bytes(row.wrapped), bound)
            return decrypt(data_key, bytes(row.box), bound)
        except (InvalidTag, ValueError, TypeError) as error:
            raise RecordUnreadable(
                f"record {row.position} does not decrypt: its bytes were changed"
            ) from error

    def rewrap(self, connection: sql.Connection, secrets: Secrets) -> None:
        """Every key under another key to wrap with; no record is touched."""
        other = Keyring(self.log_id, secrets)
        for row in connection.execute(sql.select(schema.keys)).all():
            bound = other._bound(row.id, row.category, row.subject)
            wrapped = encrypt(secrets.wrapping, self.open(row).key, bound)
            connection.execute(
                schema.keys.update().where(schema.keys.c.id == row.id).values(wrapped=wrapped)
            )

    def _bound(self, key_id: str, category: str, subject: str) -> bytes:
        return canonical_json(["rescind.ledger/2 key", self.log_id, key_id, category, subject])

    def _of_entry(self, index: int, key_id: str, once: str | None) -> bytes:
        return canonical_json(["rescind.ledger/2 entry", self.log_id, index, key_id, once])


def _context(log_id: str) -> bytes:
    return canonical_json(["rescind.ledger/2 secrets", log_id])
