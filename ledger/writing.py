"""The rows of new records, made within one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from rescind.core.names import canonical_name
from rescind.ledger import merkle, schema
from rescind.ledger.keyring import Keyring, SubjectKey
from rescind.ledger.log_state import LogState
from rescind.ledger.records import RECORD_TYPES, Record, commit

_AT_ONCE = 500
"""Subjects of one query; bounds memory."""

_entries, _keys = schema.entries, schema.keys


@dataclass(frozen=True)
class NewRecord:
    """A record to append.

    Attributes:
        type: A key of RECORD_TYPES.
        payload: Its fields.
        subject: The name of the person whose data it is about, if any, in any form; the record has
            the canonical one.
        key: An idempotency key. A second record of the same type and subject with the same key is
            not appended.
    """

    type: str
    payload: Mapping[str, Any]
    subject: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Entry:
    """The place of a record in the log.

    Attributes:
        index: The index of the entry.
        leaf_hash: The hash that the tree holds.
        new: False when a record with the same idempotency key was there already.
    """

    index: int
    leaf_hash: bytes
    new: bool


class Writer:
    """Records of one transaction, as rows."""

    def __init__(
        self, connection: sql.Connection, state: LogState, keyring: Keyring, now: int
    ) -> None:
        self._connection, self._keyring, self.time = connection, keyring, now
        self._next = state.size
        self._keys: dict[tuple[str, str], SubjectKey] = {}
        self._known: dict[str, Entry] = {}
        self.rows: list[dict[str, Any]] = []

    def find_keys(self, records: Sequence[NewRecord]) -> None:
        """Load the keys that these records need and that exist, in few queries."""
        subjects = sorted({self._keyring.secrets.subject(record.subject) for record in records})
        categories = sorted({record.type for record in records})
        for start in range(0, len(subjects), _AT_ONCE):
            wanted = _keys.c.subject.in_(subjects[start : start + _AT_ONCE])
            query = sql.select(_keys).where(wanted, _keys.c.category.in_(categories))
            for row in self._connection.execute(query):
                self._keys[row.category, row.subject] = self._keyring.open(row)

    def write(self, new: NewRecord) -> Entry:
        subject = None if new.subject is None else canonical_name(new.subject)
        key = self._key(new.type, subject)
        once = None if new.key is None else key.once(new.key)
        if new.key is not None and once is not None:
            earlier = self._known.get(once) or self._stored(once, new.key)
            if earlier is not None:
                return Entry(earlier.index, earlier.leaf_hash, new=False)
        schema_ = RECORD_TYPES[new.type].schema
        record = Record(self._next, new.type, schema_, self.time, subject, dict(new.payload))
        committed = commit(record, new.key)
        wrapped, box = self._keyring.encrypt_record(key, record.index, once, committed.inside)
        self.rows.append(
            {
                "position": record.index,
                "key": key.id,
                "once": once,
                "leaf": committed.leaf,
                "wrapped": wrapped,
                "box": box,
            }
        )
        entry = Entry(record.index, merkle.leaf_hash(committed.leaf), new=True)
        if once is not None:
            self._known[once] = entry
        self._next += 1
        return entry

    def _stored(self, once: str, key: str) -> Entry | None:
        # Earlier versions hashed idempotency keys under the log's own secret.
        earlier = self._keyring.secrets.hash("once", key)
        row = self._connection.execute(
            sql.select(_entries.c.position, _entries.c.leaf).where(
                _entries.c.once.in_([once, earlier])
            )
        ).first()
        return row and Entry(row.position, merkle.leaf_hash(bytes(row.leaf)), new=False)

    def _key(self, category: str, name: str | None) -> SubjectKey:
        subject = self._keyring.secrets.subject(name)
        data_key = self._keys.get((category, subject))
        if data_key is None:
            # The id is random: a hash of the subject would survive shredding in the entries.
            data_key, row = self._keyring.make(category, subject, secrets.token_hex(16))
            self._connection.execute(_keys.insert().values(**row))
            self._keys[category, subject] = data_key
        return data_key
