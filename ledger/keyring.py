"""The keys between the master key and the records.

master key -> secrets of the log (one key to wrap with, one to hash with, one to sign with)
           -> a key for each category and data subject
           -> a data key for each record
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Self

import sqlalchemy as sql
from cryptography.exceptions import InvalidTag

from rescind.core.canonical_json import canonical_json
from rescind.core.json_text import parse_json
from rescind.core.names import canonical_name
from rescind.ledger import schema
from rescind.ledger.encryption import decrypt, encrypt, new_key
from rescind.ledger.keys import LedgerKeyError, MasterKey
from rescind.ledger.records import RecordUnreadable

_NOBODY = ""
"""Stands for the subject of records that are about no person."""


@dataclass(frozen=True)
class Secrets:
    """The secrets of a log.

    Attributes:
        wrapping: The key that wraps subject keys, 32 bytes.
        hashing: The key of name hashes and MACs, 32 bytes.
        signing: The Ed25519 seed that signs checkpoints, 32 bytes.
    """

    wrapping: bytes = field(repr=False)
    hashing: bytes = field(repr=False)
    signing: bytes = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Return random secrets."""
        return cls(new_key(), new_key(), new_key())

    def rewrapped(self) -> Secrets:
        """Return the secrets of the same log with a new wrapping key."""
        return Secrets(new_key(), self.hashing, self.signing)

    def wrap(self, master: MasterKey, log_id: str) -> bytes:
        """Return the secrets encrypted under the master key, bound to the log."""
        text = {name: getattr(self, name).hex() for name in ("wrapping", "hashing", "signing")}
        return master.wrap(canonical_json(text), _context(log_id))

    @classmethod
    def unwrap(cls, wrapped: bytes, master: MasterKey, log_id: str) -> Self:
        """Return the secrets that `wrap` encrypted.

        Raises:
            LedgerKeyError: The master key or the log is another one, or the secrets are damaged.
        """
        try:
            text = parse_json(master.unwrap(wrapped, _context(log_id)))
            return cls(*(bytes.fromhex(text[name]) for name in ("wrapping", "hashing", "signing")))
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerKeyError(
                "the wrapped secrets of the ledger are damaged: restore it from a backup"
            ) from error

    def hash(self, kind: str, text: str) -> str:
        """Return a keyed hash of a name, which cannot be tested for without the secrets."""
        return hmac.new(self.hashing, f"{kind}|{text}".encode(), hashlib.sha256).hexdigest()

    def subject(self, name: str | None) -> str:
        """Return the keyed hash of a data subject's canonical name, or "" for no subject.

        Raises:
            NameInvalid: The name is not valid.
        """
        return _NOBODY if name is None else self.hash("subject", canonical_name(name))

    def mac(self, value: object) -> bytes:
        """Return a MAC of a JSON value."""
        return hmac.new(self.hashing, b"log|" + canonical_json(value), hashlib.sha256).digest()


@dataclass(frozen=True)
class SubjectKey:
    """The key of one category of records about one data subject."""

    id: str
    key: bytes = field(repr=False)

    def once(self, text: str) -> str:
        """Return the hash of an idempotency key, which no one can test for without this key.

        The text may name the subject. Under the log's own secret it could still be guessed after
        the subject was shredded; under this key it is gone with the subject's other traces.
        """
        message = b"rescind.ledger/3 once|" + text.encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Keyring:
    """The keys of a log."""

    log_id: str
    secrets: Secrets

    def make(
        self, category: str, subject: str, identifier: str
    ) -> tuple[SubjectKey, dict[str, Any]]:
        """Return a new key for a category and a hashed subject, and its row in table `keys`."""
        key = SubjectKey(identifier, new_key())
        wrapped = encrypt(self.secrets.wrapping, key.key, self._bound(key.id, category, subject))
        row = {"id": key.id, "category": category, "subject": subject, "wrapped": wrapped}
        return key, row

    def open(self, row: sql.Row[Any]) -> SubjectKey:
        """Return the key of a row of table `keys`.

        Raises:
            RecordUnreadable: The row was changed.
        """
        try:
            bound = self._bound(row.id, row.category, row.subject)
            return SubjectKey(row.id, decrypt(self.secrets.wrapping, bytes(row.wrapped), bound))
        except (InvalidTag, ValueError) as error:
            raise RecordUnreadable(
                f"key {row.id} cannot be unwrapped: its bytes were changed"
            ) from error

    def encrypt_record(
        self, key: SubjectKey, index: int, once: str | None, inside: bytes
    ) -> tuple[bytes, bytes]:
        """Encrypt a record under a fresh data key.

        Args:
            key: The subject key that wraps the data key.
            index: The index of the record, which the ciphertext is bound to.
            once: The hash of its idempotency key, if any; bound as well.
            inside: The content.

        Returns:
            The wrapped data key and the encrypted content.
        """
        data_key = new_key()
        bound = self._bound_entry(index, key.id, once)
        return encrypt(key.key, data_key, bound), encrypt(data_key, inside, bound)

    def decrypt_record(self, key: SubjectKey, row: sql.Row[Any]) -> bytes:
        """Decrypt a row of table `entries`.

        Raises:
            RecordUnreadable: The row was changed, or the key is another one.
        """
        bound = self._bound_entry(row.position, row.key, row.once)
        try:
            data_key = decrypt(key.key, bytes(row.wrapped), bound)
            return decrypt(data_key, bytes(row.box), bound)
        except (InvalidTag, ValueError, TypeError) as error:
            raise RecordUnreadable(
                f"record {row.position} cannot be decrypted: its bytes were changed"
            ) from error

    def rewrap(self, connection: sql.Connection, secrets: Secrets) -> None:
        """Wrap every subject key under other secrets; no record is rewritten."""
        other = Keyring(self.log_id, secrets)
        for row in connection.execute(sql.select(schema.keys)).all():
            bound = other._bound(row.id, row.category, row.subject)
            wrapped = encrypt(secrets.wrapping, self.open(row).key, bound)
            connection.execute(
                schema.keys.update().where(schema.keys.c.id == row.id).values(wrapped=wrapped)
            )

    def _bound(self, key_id: str, category: str, subject: str) -> bytes:
        return canonical_json(["rescind.ledger/2 key", self.log_id, key_id, category, subject])

    def _bound_entry(self, index: int, key_id: str, once: str | None) -> bytes:
        return canonical_json(["rescind.ledger/2 entry", self.log_id, index, key_id, once])


def _context(log_id: str) -> bytes:
    return canonical_json(["rescind.ledger/2 secrets", log_id])
