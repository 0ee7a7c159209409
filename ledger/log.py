"""An organization's private ledger: an append-only, encrypted RFC 9162 log in a database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from rescind.core.errors import LedgerError
from rescind.ledger import merkle, schema, tree_store
from rescind.ledger.database import Database, LedgerDamaged, reason
from rescind.ledger.file_macs import Seal
from rescind.ledger.fsck import Problem, Report, check
from rescind.ledger.keyring import Keyring, Secrets, SubjectKey
from rescind.ledger.keys import LedgerKeyError, MasterKey
from rescind.ledger.log_state import LogState, read_log_state, write_log_state
from rescind.ledger.notes import Checkpoint, LogKey
from rescind.ledger.records import (
    Record,
    Shredded,
    check_key,
    check_payload,
    open_committed,
    shredded_record,
)
from rescind.ledger.writing import Entry, NewRecord, Writer

_PATIENCE = 60
"""Seconds by which the clock may step back, as time synchronization does."""
_AT_ONCE = 500
"""Rows of one query; bounds memory."""

_entries, _keys = schema.entries, schema.keys


class RecordShredded(LedgerError):
    """The key of a record was destroyed, so it cannot be read or proved."""

    code = "ledger-record-shredded"


class ClockWentBack(LedgerError):
    """The machine's clock is behind the last record."""

    code = "ledger-clock"


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


class Ledger:
    """A ledger in a folder or in a PostgreSQL database.

    Open it with `Ledger.open` and use it as a context manager, so that it is sealed when it closes.
    """

    def __init__(
        self, database: Database, master: MasterKey, clock: Callable[[], float] = time.time
    ) -> None:
        self.database, self._clock = database, clock
        with database.reading() as connection:
            state = read_log_state(connection)
        try:
            self.keyring = Keyring(state.id, Secrets.unwrap(state.secrets, master, state.id))
        except LedgerKeyError as error:
            raise LedgerKeyError(f"{database.name}: {error}") from error

    @classmethod
    def create(
        cls,
        where: Path | str,
        master: MasterKey,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Create an empty ledger and open it.

        Args:
            where: A folder, or the URL of a PostgreSQL database.
            master: The master key.
            clock: The time in Unix seconds.

        Raises:
            LedgerError: There is a ledger already.
        """
        identifier, new = secrets.token_hex(16), Secrets.new()
        with _closed_on_error(Database(where)) as database:
            database.create()
            with database.writing() as connection:
                state = LogState(identifier, 0, 0, 0, new.wrap(master, identifier))
                connection.execute(schema.log.insert().values(**state.row(new)))
            return cls(database, master, clock)

    @classmethod
    def open(
        cls, where: Path | str, master: MasterKey, clock: Callable[[], float] = time.time
    ) -> Self:
        """Open a ledger.

        Args:
            where: A folder, or the URL of a PostgreSQL database.
            master: The master key.
            clock: The time in Unix seconds.

        Raises:
            LedgerError: There is no ledger, or its schema is another version's.
            LedgerDamaged: It cannot be read.
            LedgerKeyError: The master key belongs to another ledger.
        """
        with _closed_on_error(Database(where)) as database:
            database.check()
            return cls(database, master, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def append(
        self,
        type_: str,
        payload: Mapping[str, Any],
        *,
        subject: str | None = None,
        key: str | None = None,
    ) -> Entry:
        """Append a record, durably when it returns.

        Args:
            type_: A key of RECORD_TYPES.
            payload: The fields of the record.
            subject: The name of the person whose data it is about, if any.
            key: An idempotency key; if a record of this type and subject has it already, that
                record's entry is returned. Shredding destroys it with the record.

        Raises:
            LedgerError: The record is not valid, or writing failed; then nothing was written.
            ClockWentBack: The machine's clock is wrong.
        """
        return self.append_all([NewRecord(type_, payload, subject, key)])[0]

    def append_all(self, records: Sequence[NewRecord]) -> list[Entry]:
        """Append records in one transaction, all or none; raise as `append`."""
        for record in records:
            check_payload(record.type, record.payload)
            check_key(record.key)
        with self.database.writing() as connection:
            return self.add(connection, records)

    def add(self, connection: sql.Connection, records: Sequence[NewRecord]) -> list[Entry]:
        """Append records within a transaction of `database.writing`; raise as `append`."""
        state = read_log_state(connection, for_update=True)
        if state.id != self.id:
            raise LedgerError(
                f"{self.database.name} was renewed by another process: start again, with its new key"
            )
        writer = Writer(connection, state, self.keyring, self._time(state))
        writer.find_keys(records)
        entries = [writer.write(record) for record in records]
        new = [entry.leaf_hash for entry in entries if entry.new]
        if new:
            connection.execute(_entries.insert(), writer.rows)
            tree_store.grow(connection, state.size, new)
            after = state.grown(len(new), writer.time)
            write_log_state(connection, after, self.keyring.secrets)
        return entries

    def _time(self, state: LogState) -> int:
        now = int(self._clock())
        if now < state.time - _PATIENCE:
            raise ClockWentBack(
                f"the clock of this machine says {_utc(now)}, but the last record is of "
                f"{_utc(state.time)}: nothing was written; set the clock and retry"
            )
        return max(now, state.time)

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
        row = connection.execute(
            sql.select(_entries).where(_entries.c.position == index)
        ).one_or_none()
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

    def rotate(self, master: MasterKey) -> None:
        """Wrap every key again under new secrets and another master key; no record is rewritten.

        Destroy the old master key afterwards: then every copy of the wrapped keys that was made
        before is useless, wherever it lies.
        """
        rewrapped = self.keyring.secrets.rewrapped()
        with self.database.writing() as connection:
            state = read_log_state(connection, for_update=True)
            self.keyring.rewrap(connection, rewrapped)
            changed = state.changed(rewrapped.wrap(master, state.id))
            write_log_state(connection, changed, rewrapped)
        self.keyring = Keyring(self.id, rewrapped)
        self.database.wipe()
        self.write_seal()

    def write_seal(self) -> None:
        """Write keyed MACs of all bytes of the SQLite file.

        SQLite ignores some bytes; with the MACs `verify` finds a change even there. Does nothing in
        PostgreSQL.
        """
        if self.database.folder is not None:
            Seal(self.database, self.keyring.secrets).write()

    def close(self) -> None:
        """Seal the ledger and close its database."""
        try:
            self.write_seal()
        finally:
            self.database.engine.dispose()

    def verify(self, anchors: Sequence[tuple[int, str]] = ()) -> Report:
        """Recompute everything from the entries and report what does not hold.

        Args:
            anchors: Sizes with their roots, in hexadecimal, from the chain.
        """
        try:
            return check(self.database, self.keyring, anchors)
        except (LedgerDamaged, SQLAlchemyError, OverflowError, ValueError, TypeError) as error:
            what = f"the database cannot be read to its end: {reason(error)}"
            return Report(0, "", (Problem(None, what),))


@contextmanager
def _closed_on_error(database: Database) -> Iterator[Database]:
    try:
        yield database
    except BaseException:
        database.engine.dispose()
        raise


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
