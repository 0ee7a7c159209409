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
from rescind.ledger import merkle, schema
from rescind.ledger import tree_store as tree
from rescind.ledger.database import Database, LedgerDamaged, reason
from rescind.ledger.file_macs import Seal
from rescind.ledger.fsck import Problem, Report, check
from rescind.ledger.keyring import Keyring, Secrets, SubjectKey
from rescind.ledger.keys import LedgerKeyError, MasterKey
from rescind.ledger.log_state import LogState, read_log_state, write_log_state
from rescind.ledger.notes import Checkpoint, LogKey
from rescind.ledger.records import (
    RECORD_TYPES,
    Record,
    Shredded,
    check_names,
    check_payload,
    commit,
    open_committed,
    shredded_record,
)

_PATIENCE = 60
"""Seconds that a clock may step back."""
_AT_ONCE = 500

_entries, _keys = schema.entries, schema.keys


class RecordShredded(LedgerError):
    code = "ledger-record-shredded"


class ClockWentBack(LedgerError):
    code = "ledger-clock"


@dataclass(frozen=True)
class NewRecord:
    """`key`: idempotency key; the same one again is the record that is there."""

    type: str
    payload: Mapping[str, Any]
    subject: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Entry:
    """`leaf_hash` is what the tree holds; `new` is False when the idempotency key was known."""

    index: int
    leaf_hash: bytes
    new: bool


@dataclass(frozen=True)
class Proven:
    """A record with what shows that it is in the log of `checkpoint`: its salt and inclusion proof."""

    record: Record
    salt: bytes
    path: tuple[bytes, ...]
    checkpoint: Checkpoint


class Ledger:
    """`where`: a folder, or the URL of a PostgreSQL database. Open with `Ledger.open`; use as a context
    manager so that it is sealed when it closes."""

    def __init__(
        self, database: Database, master: MasterKey, clock: Callable[[], float] = time.time
    ) -> None:
        self.database, self._clock = database, clock
        with database.reading() as connection:
            head = read_log_state(connection)
        try:
            self.keyring = Keyring(head.id, Secrets.unwrap(head.secrets, master, head.id))
        except LedgerKeyError as error:
            raise LedgerKeyError(f"{database.name}: {error}") from error

    @classmethod
    def create(
        cls,
        where: Path | str,
        master: MasterKey,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """A new, empty ledger. Raises LedgerError when there is one already."""
        identifier, made = secrets.token_hex(16), Secrets.new()
        with _closed_on_error(Database(where)) as database:
            database.create()
            with database.writing() as connection:
                head = LogState(identifier, 0, 0, 0, made.wrap(master, identifier))
                connection.execute(schema.log.insert().values(**head.row(made)))
            return cls(database, master, clock)

    @classmethod
    def open(
        cls, where: Path | str, master: MasterKey, clock: Callable[[], float] = time.time
    ) -> Self:
        """Raises LedgerError when there is none, LedgerDamaged when it cannot be read, LedgerKeyError
        when the key is not its own."""
        with _closed_on_error(Database(where)) as database:
            database.check()
            return cls(database, master, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        return self.keyring.log_id

    @property
    def size(self) -> int:
        with self.database.reading() as connection:
            return read_log_state(connection).size

    @property
    def key(self) -> LogKey:
        """What signs its checkpoints."""
        return LogKey.of(self.id, self.keyring.secrets.signing)

    def append(
        self,
        type_: str,
        payload: Mapping[str, Any],
        *,
        subject: str | None = None,
        key: str | None = None,
    ) -> Entry:
        """Durable when it returns. The same idempotency `key` again returns the first entry."""
        return self.append_all([NewRecord(type_, payload, subject, key)])[0]

    def append_all(self, records: Sequence[NewRecord]) -> list[Entry]:
        """All of them or none, in one transaction."""
        for it in records:
            check_payload(it.type, it.payload)
            check_names(it.subject, it.key)
        with self.database.writing() as connection:
            return self.add(connection, records)

    def add(self, connection: sql.Connection, records: Sequence[NewRecord]) -> list[Entry]:
        """Within a transaction of `database.writing`."""
        head = read_log_state(connection, for_update=True)
        writer = _Writer(connection, head, self.keyring, self._time(head))
        writer.find_keys(records)
        entries = [writer.write(it) for it in records]
        new = [it.leaf_hash for it in entries if it.new]
        if new:
            connection.execute(_entries.insert(), writer.rows)
            tree.grow(connection, head.size, new)
            after = head.grown(len(new), writer.time)
            write_log_state(connection, after, self.keyring.secrets)
        return entries

    def _time(self, head: LogState) -> int:
        now = int(self._clock())
        if now < head.time - _PATIENCE:
            raise ClockWentBack(
                f"the clock says {_utc(now)}, the last record was made at {_utc(head.time)}: set the "
                "clock of this machine; nothing was written"
            )
        return max(now, head.time)

    def record(self, index: int) -> Record:
        """Decrypted. Raises LedgerError for an index that is not there, RecordShredded,
        RecordUnreadable."""
        with self.database.reading() as connection:
            found, _ = self._read(connection, index)
        if isinstance(found, Shredded):
            raise RecordShredded(f"record {index} was shredded: its key is destroyed")
        return found

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
            index, bytes(row.leaf), self.keyring.unlock(self.keyring.open(key), row)
        )

    def records(
        self, type_: str | None = None, subject: str | None = None, start: int = 0
    ) -> Iterator[Record | Shredded]:
        """From index `start`, by ascending index; of one type or about one subject if given."""
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
                    inside = self.keyring.unlock(key, row)
                    yield open_committed(row.position, bytes(row.leaf), inside)[0]
                    continue
                found = shredded_record(row.position, bytes(row.leaf))
                if row.box is None and type_ in (None, found.type):
                    yield found
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
        """Root of the first `size` entries, of all by default."""
        with self.database.reading() as connection:
            known = read_log_state(connection).size
            wanted = self._within(known, size)
            return merkle.root(wanted, tree.stored(connection))

    def _within(self, known: int, size: int | None) -> int:
        if size is not None and not 0 <= size <= known:
            raise LedgerError(f"the ledger has {known} records, not {size}")
        return known if size is None else size

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        with self.database.reading() as connection:
            return merkle.inclusion_proof(index, size, tree.stored(connection))

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        with self.database.reading() as connection:
            return merkle.consistency_proof(first, second, tree.stored(connection))

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        """Size and root, signed."""
        with self.database.reading() as connection:
            wanted = self._within(read_log_state(connection).size, size)
            root = merkle.root(wanted, tree.stored(connection))
        return self.key.checkpoint(wanted, root)

    def prove(self, index: int, size: int | None = None) -> Proven:
        """Of a record in the log as it was at `size`, at its newest by default. Raises LedgerError."""
        checkpoint = self.checkpoint(size)
        with self.database.reading() as connection:
            if index >= checkpoint.size:
                raise LedgerError(f"record {index} is not among the first {checkpoint.size}")
            found, salt = self._read(connection, index)
            path = merkle.inclusion_proof(index, checkpoint.size, tree.stored(connection))
        if isinstance(found, Shredded):
            raise RecordShredded(f"record {index} was shredded: nobody can prove what it said")
        return Proven(found, salt, tuple(path), checkpoint)

    def rotate(self, master: MasterKey) -> None:
        """Wrap every key anew, under another master key; no record is rewritten. With the old master key
        destroyed, every copy of a key that was made before is dead, wherever it lies."""
        made = self.keyring.secrets.rewrapped()
        with self.database.writing() as connection:
            head = read_log_state(connection, for_update=True)
            self.keyring.rewrap(connection, made)
            write_log_state(connection, head.changed(made.wrap(master, head.id)), made)
        self.keyring = Keyring(self.id, made)
        self.database.wipe()
        self.write_seal()

    def write_seal(self) -> None:
        """Note keyed MACs of all bytes of its SQLite file, since SQLite ignores some of them; with them
        `verify` finds a change even there. In PostgreSQL there is nothing to do."""
        if self.database.folder is not None:
            Seal(self.database, self.keyring.secrets).write()

    def close(self) -> None:
        try:
            self.write_seal()
        finally:
            self.database.engine.dispose()

    def verify(self, anchors: Sequence[tuple[int, str]] = ()) -> Report:
        """Recompute everything from the entries; `anchors` are (size, root) from the chain."""
        try:
            return check(self.database, self.keyring, anchors)
        except (LedgerDamaged, SQLAlchemyError, OverflowError, ValueError, TypeError) as error:
            what = f"the database cannot be read through: {reason(error)}"
            return Report(0, "", (Problem(None, what),))


@contextmanager
def _closed_on_error(database: Database) -> Iterator[Database]:
    try:
        yield database
    except BaseException:
        database.engine.dispose()
        raise


class _Writer:
    """Records of one transaction, as rows."""

    def __init__(
        self, connection: sql.Connection, head: LogState, keyring: Keyring, now: int
    ) -> None:
        self._connection, self._keyring, self.time = connection, keyring, now
        self._next = head.size
        self._keys: dict[tuple[str, str], SubjectKey] = {}
        self._known: dict[str, Entry] = {}
        self.rows: list[dict[str, Any]] = []

    def find_keys(self, records: Sequence[NewRecord]) -> None:
        """Those that are there, in few queries."""
        subjects = sorted({self._keyring.secrets.subject(it.subject) for it in records})
        categories = sorted({it.type for it in records})
        for start in range(0, len(subjects), _AT_ONCE):
            wanted = _keys.c.subject.in_(subjects[start : start + _AT_ONCE])
            query = sql.select(_keys).where(wanted, _keys.c.category.in_(categories))
            for row in self._connection.execute(query):
                self._keys[row.category, row.subject] = self._keyring.open(row)

    def write(self, it: NewRecord) -> Entry:
        once = None if it.key is None else self._keyring.secrets.hash("once", it.key)
        if once is not None:
            found = self._known.get(once) or self._stored(once)
            if found is not None:
                return Entry(found.index, found.leaf_hash, new=False)
        type_ = RECORD_TYPES[it.type]
        record = Record(self._next, it.type, type_.schema, self.time, it.subject, dict(it.payload))
        key, committed = self._key(it.type, it.subject), commit(record)
        wrapped, box = self._keyring.lock(key, record.index, once, committed.inside)
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

    def _stored(self, once: str) -> Entry | None:
        row = self._connection.execute(
            sql.select(_entries.c.position, _entries.c.leaf).where(_entries.c.once == once)
        ).one_or_none()
        return row and Entry(row.position, merkle.leaf_hash(bytes(row.leaf)), new=False)

    def _key(self, category: str, name: str | None) -> SubjectKey:
        subject = self._keyring.secrets.subject(name)
        known = self._keys.get((category, subject))
        if known is None:
            known, row = self._keyring.make(category, subject, secrets.token_hex(16))
            self._connection.execute(_keys.insert().values(**row))
            self._keys[category, subject] = known
        return known


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
