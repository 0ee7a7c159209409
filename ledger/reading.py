"""Reading an organization's private ledger: records, roots, checkpoints and proofs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql

from rescind.core.errors import LedgerError
from rescind.ledger import merkle, schema, tree_store
from rescind.ledger.database import Database
from rescind.ledger.keyring import Keyring, SubjectKey
from rescind.ledger.log_state import read_log_state
from rescind.ledger.notes import Checkpoint, LogKey
from rescind.ledger.records import Record, Shredded, open_committed, shredded_record

_AT_ONCE = 500
"""Rows of one query; bounds memory."""

_MOST_ENTRIES = 2**63

_entries, _keys = schema.entries, schema.keys


class RecordShredded(LedgerError):
    """The key of a record was destroyed, so it cannot be read or proved."""

    code = "ledger-record-shredded"


@dataclass(frozen=True)
class Proven:
    """A record with the proof that it is in the log of a checkpoint.

    Attributes:
        record: The record.
        salt: The salt of its commitment.
        path: Its RFC 9162 inclusion proof.
        checkpoint: The signed size and root.
    """

    record: Record
    salt: bytes
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


class LogReader:
    """A ledger for reading and proving alone.

    Args:
        database: Its database.
        keyring: Its keys.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database, self.keyring = database, keyring

    @property
    def id(self) -> str:
        """The log's id, 32 hexadecimal digits."""
        return self.keyring.log_id

    @property
    def size(self) -> int:
        """The number of entries."""
        with self.database.reading() as connection:
            return read_log_state(connection).size

    @property
    def key(self) -> LogKey:
        """The key that signs the log's checkpoints."""
        return LogKey.of(self.id, self.keyring.secrets.signing)

    def record(self, index: int) -> Record:
        """Return a decrypted record.

        Raises:
            LedgerError: The index is not in the ledger.
            RecordShredded: Its key was destroyed.
            RecordUnreadable: Its bytes were changed.
        """
        with self.database.reading() as connection:
            record, _ = self._read(connection, index)
        if isinstance(record, Shredded):
            raise RecordShredded(
                f"record {index} was shredded: its key was destroyed, and it cannot be read"
            )
        return record

    def _read(self, connection: sql.Connection, index: int) -> tuple[Record | Shredded, bytes]:
        query = sql.select(_entries).where(_entries.c.position == index)
        # A database takes no numbers beyond 64 bits with a sign.
        row = connection.execute(query).one_or_none() if index < _MOST_ENTRIES else None
        if row is None:
            raise LedgerError(f"the ledger in {self.database.name} has no record {index}")
        key = connection.execute(sql.select(_keys).where(_keys.c.id == row.key)).one_or_none()
        if key is None:
            return shredded_record(index, bytes(row.leaf)), b""
        return open_committed(
            index, bytes(row.leaf), self.keyring.decrypt_record(self.keyring.open(key), row)
        )

    def records(
        self, type_: str | None = None, subject: str | None = None, start: int = 0
    ) -> Iterator[Record | Shredded]:
        """Yield records by ascending index.

        Args:
            type_: Only records of this type.
            subject: Only records about this person; those that were shredded are left out.
            start: The first index.

        Raises:
            RecordUnreadable: The bytes of a record were changed.
        """
        keys: dict[str, SubjectKey] = {}
        while True:
            with self.database.reading() as connection:
                for row in connection.execute(self._chosen(type_, subject)).all():
                    keys.setdefault(row.id, self.keyring.open(row))
                query = sql.select(_entries).where(_entries.c.position >= start)
                if subject is not None:
                    query = query.where(_entries.c.key.in_(list(keys)))
                query = query.order_by(_entries.c.position).limit(_AT_ONCE)
                rows = connection.execute(query).all()
            for row in rows:
                key = keys.get(row.key)
                if key is not None:
                    inside = self.keyring.decrypt_record(key, row)
                    yield open_committed(row.position, bytes(row.leaf), inside)[0]
                    continue
                shredded = shredded_record(row.position, bytes(row.leaf))
                if row.box is None and type_ in (None, shredded.type):
                    yield shredded
            if len(rows) < _AT_ONCE:
                return
            start = rows[-1].position + 1

    def _chosen(self, type_: str | None, subject: str | None) -> sql.Select[Any]:
        query = sql.select(_keys)
        if type_ is not None:
            query = query.where(_keys.c.category == type_)
        if subject is not None:
            query = query.where(_keys.c.subject == self.keyring.secrets.subject(subject))
        return query

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` entries, by default of all.

        Raises:
            LedgerError: The log has fewer entries.
        """
        with self.database.reading() as connection:
            ledger_size = read_log_state(connection).size
            wanted = self._within(ledger_size, size)
            return merkle.root(wanted, tree_store.stored_subtrees(connection))

    def _within(self, ledger_size: int, size: int | None) -> int:
        if size is not None and not 0 <= size <= ledger_size:
            raise LedgerError(
                f"the ledger has {ledger_size} records, so there is no root of {size}"
            )
        return ledger_size if size is None else size

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the RFC 9162 proof that the first `size` entries include one."""
        with self.database.reading() as connection:
            return merkle.inclusion_proof(index, size, tree_store.stored_subtrees(connection))

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        """Return the RFC 9162 proof that the log at `first` is a prefix of that at `second`."""
        with self.database.reading() as connection:
            return merkle.consistency_proof(first, second, tree_store.stored_subtrees(connection))

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """Return the signed size and root of the first `size` entries, by default of all."""
        with self.database.reading() as connection:
            wanted = self._within(read_log_state(connection).size, size)
            root = merkle.root(wanted, tree_store.stored_subtrees(connection))
        return self.key.checkpoint(wanted, root)

    def prove(self, index: int, size: int | None = None) -> Proven:
        """Prove that a record is in the log.

        Args:
            index: The index of the record.
            size: The size of the log to prove against; the newest by default.

        Raises:
            LedgerError: The record is not among the first `size`.
            RecordShredded: Its key was destroyed.
        """
        checkpoint = self.checkpoint(size)
        with self.database.reading() as connection:
            if index >= checkpoint.size:
                raise LedgerError(
                    f"record {index} is not among the first {checkpoint.size} records"
                )
            record, salt = self._read(connection, index)
            path = merkle.inclusion_proof(
                index, checkpoint.size, tree_store.stored_subtrees(connection)
            )
        if isinstance(record, Shredded):
            raise RecordShredded(
                f"record {index} was shredded: its key was destroyed, and it cannot be proved"
            )
        return Proven(record, salt, tuple(path), checkpoint)
