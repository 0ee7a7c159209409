"""An organization's private ledger: an append-only, encrypted RFC 9162 log in one SQLite file."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from adapters.errors import LedgerError
from ledger import merkle
from ledger.sealed import Record, RecordUnreadable, Sealed, seal, unseal

RECORD_TYPES: Mapping[str, int] = {
    "consent": 1,
    "decision": 1,
    "disclosure": 1,
    "manifest": 1,
    "privacy-budget": 1,
    "reward": 1,
    "training-run": 1,
    "withdrawal": 1,
}
"""Types this version writes, with their schema number. Others are kept and shown as they are."""

_DATABASE, _SEAL = "ledger.db", "ledger.seal"
_metadata = sql.MetaData()
_log = sql.Table("log", _metadata, sql.Column("id", sql.String, primary_key=True))
_entries = sql.Table(
    "entries",
    _metadata,
    sql.Column("position", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("key", sql.String, unique=True),
    sql.Column("leaf", sql.LargeBinary, nullable=False),
    sql.Column("wrapped_key", sql.LargeBinary, nullable=False),
    sql.Column("box", sql.LargeBinary, nullable=False),
)
_nodes = sql.Table(
    "nodes",
    _metadata,
    sql.Column("level", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("place", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("hash", sql.LargeBinary, nullable=False),
)


class LedgerDamaged(LedgerError):
    code = "ledger-damaged"


@dataclass(frozen=True)
class Entry:
    """`leaf_hash` is what the tree holds; `new` is False when the idempotency key was known."""

    index: int
    leaf_hash: bytes
    new: bool


@dataclass(frozen=True)
class Problem:
    """`index` is the entry, or None when it is the log as a whole."""

    index: int | None
    what: str


@dataclass(frozen=True)
class Report:
    size: int
    root: str
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems


class Ledger:
    """Open with `Ledger.open`; use as a context manager so that it is sealed when it closes."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key
        self._engine = _engine(folder / _DATABASE)
        try:
            with self._engine.connect() as connection:
                self._id = connection.execute(sql.select(_log.c.id)).scalar_one()
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise LedgerDamaged(
                f"{folder / _DATABASE} is not a readable ledger: {_reason(error)}"
            ) from error

    @classmethod
    def create(cls, folder: Path, key: bytes) -> Self:
        """A new, empty ledger. Raises LedgerError when the folder holds one already."""
        if (folder / _DATABASE).exists():
            raise LedgerError(f"{folder} holds a ledger already")
        folder.mkdir(parents=True, exist_ok=True)
        engine = _engine(folder / _DATABASE)
        _metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(_log.insert().values(id=secrets.token_hex(16)))
        engine.dispose()
        return cls(folder, key)

    @classmethod
    def open(cls, folder: Path, key: bytes) -> Self:
        """Raises LedgerError when there is none, LedgerDamaged when it cannot be read."""
        if not (folder / _DATABASE).is_file():
            raise LedgerError(f"no ledger in {folder}: create one with rescind org init")
        return cls(folder, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        return str(self._id)

    @property
    def size(self) -> int:
        with self._engine.connect() as connection:
            return _size(connection)

    def append(
        self,
        type_: str,
        payload: Mapping[str, object],
        *,
        subject: str | None = None,
        key: str | None = None,
    ) -> Entry:
        """Durable when it returns. The same idempotency `key` again returns the first entry."""
        if type_ not in RECORD_TYPES:
            raise LedgerError(f"unknown record type {type_!r}: one of {', '.join(RECORD_TYPES)}")
        try:
            return self._append(type_, payload, subject, key)
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot write to {self._folder}: {_reason(error)}") from error

    def _append(
        self, type_: str, payload: Mapping[str, object], subject: str | None, key: str | None
    ) -> Entry:
        with self._engine.execution_options(writes=True).begin() as connection:
            if key is not None:
                known = connection.execute(
                    sql.select(_entries.c.position, _entries.c.leaf).where(_entries.c.key == key)
                ).one_or_none()
                if known is not None:
                    return Entry(known.position, merkle.leaf_hash(known.leaf), new=False)
            index = _size(connection)
            record = Record(
                index, type_, RECORD_TYPES[type_], int(time.time()), subject, dict(payload)
            )
            sealed = seal(record, log_id=self.id, master_key=self._key)
            connection.execute(
                _entries.insert().values(
                    position=index,
                    key=key,
                    leaf=sealed.leaf,
                    wrapped_key=sealed.wrapped_key,
                    box=sealed.box,
                )
            )
            _add_leaf(connection, index, merkle.leaf_hash(sealed.leaf))
        return Entry(index, merkle.leaf_hash(sealed.leaf), new=True)

    def record(self, index: int) -> Record:
        """Decrypted. Raises LedgerError for an index that is not there, RecordUnreadable."""
        with self._engine.connect() as connection:
            row = connection.execute(
                sql.select(_entries).where(_entries.c.position == index)
            ).one_or_none()
        if row is None:
            raise LedgerError(f"the ledger in {self._folder} has no record {index}")
        return unseal(_sealed(row), index, log_id=self.id, master_key=self._key)

    def records(self) -> Iterator[Record]:
        for index in range(self.size):
            yield self.record(index)

    def root(self, size: int | None = None) -> bytes:
        """Root of the first `size` entries, of all by default."""
        with self._engine.connect() as connection:
            return merkle.root(_size(connection) if size is None else size, _stored(connection))

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        with self._engine.connect() as connection:
            return merkle.inclusion_proof(index, size, _stored(connection))

    def consistency_proof(self, first: int, second: int) -> list[bytes]:
        with self._engine.connect() as connection:
            return merkle.consistency_proof(first, second, _stored(connection))

    def write_seal(self) -> None:
        """Fold the write-ahead log into the file and note a keyed MAC of all its bytes.

        SQLite ignores some bytes of its files; with the seal, `verify` finds a change even there.
        """
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()
        content = self._seal(self.size, self._mac())
        temporary = self._folder / f".{_SEAL}.{os.getpid()}"
        temporary.write_text(content, encoding="ascii")
        temporary.replace(self._folder / _SEAL)

    def close(self) -> None:
        self.write_seal()
        self._engine.dispose()

    def verify(self, anchors: Sequence[tuple[int, str]] = ()) -> Report:
        """Recompute everything from the entries; `anchors` are (size, root) from the chain."""
        problems: list[Problem] = []
        leaves: list[bytes] = []
        try:
            with self._engine.connect() as connection:
                integrity = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
                problems += [Problem(None, f"SQLite: {line}") for line in integrity if line != "ok"]
                rows = connection.execute(sql.select(_entries).order_by(_entries.c.position))
                for place, row in enumerate(rows):
                    problems += self._check_entry(place, row)
                    leaves.append(merkle.leaf_hash(row.leaf))
                problems += _check_nodes(connection, leaves)
                problems += self._check_seal(len(leaves))
        except (DatabaseError, OverflowError, ValueError, TypeError) as error:
            problems.append(Problem(None, f"the file cannot be read through: {_reason(error)}"))
            return Report(len(leaves), "", tuple(problems))
        subtree = merkle.subtrees_of(leaves)
        for size, expected in anchors:
            if size > len(leaves):
                problems.append(
                    Problem(None, f"the chain anchors {size} entries, the ledger has {len(leaves)}")
                )
            elif merkle.root(size, subtree).hex() != expected:
                problems.append(Problem(None, f"the first {size} entries are not those anchored"))
        return Report(len(leaves), merkle.root(len(leaves), subtree).hex(), tuple(problems))

    def _check_entry(self, place: int, row: sql.Row[Any]) -> list[Problem]:
        if row.position != place:
            return [Problem(place, f"entry {place} is missing, {row.position} stands in its place")]
        try:
            unseal(_sealed(row), place, log_id=self.id, master_key=self._key)
        except (RecordUnreadable, KeyError, TypeError) as error:
            return [Problem(place, str(error))]
        return []

    def _check_seal(self, size: int) -> list[Problem]:
        path = self._folder / _SEAL
        wal = self._folder / f"{_DATABASE}-wal"
        if wal.exists() and wal.stat().st_size:
            return []
        try:
            content = path.read_text(encoding="ascii")
            sealed_size, mac, _ = content.split(" ")
            sealed_entries = int(sealed_size)
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            return [Problem(None, f"{path} is damaged")]
        if not hmac.compare_digest(content, self._seal(sealed_entries, mac)):
            return [Problem(None, f"{path} is damaged, or the key is another ledger's")]
        if sealed_entries < size:
            return []
        if sealed_entries > size or not hmac.compare_digest(mac, self._mac()):
            return [Problem(None, f"the bytes of {_DATABASE} are not those that were sealed")]
        return []

    def _seal(self, size: int, mac: str) -> str:
        head = f"{size} {mac}"
        return f"{head} {hmac.new(self._key, head.encode('ascii', 'replace'), hashlib.sha256).hexdigest()}\n"

    def _mac(self) -> str:
        mac = hmac.new(self._key, b"rescind.ledger.seal/1|", hashlib.sha256)
        with (self._folder / _DATABASE).open("rb") as file:
            while piece := file.read(1 << 20):
                mac.update(piece)
        return mac.hexdigest()


def _engine(path: Path) -> sql.Engine:
    engine = sql.create_engine(f"sqlite:///{path}", poolclass=sql.pool.NullPool)

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000"):
            connection.execute(f"PRAGMA {pragma}")

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _size(connection: sql.Connection) -> int:
    last = connection.execute(sql.select(sql.func.max(_entries.c.position))).scalar_one()
    return 0 if last is None else int(last) + 1


def _stored(connection: sql.Connection) -> merkle.Subtree:
    def subtree(level: int, place: int) -> bytes:
        found = connection.execute(
            sql.select(_nodes.c.hash).where(_nodes.c.level == level, _nodes.c.place == place)
        ).scalar_one_or_none()
        if found is None:
            raise LedgerDamaged(f"the tree lacks node {level}/{place}: run rescind ledger verify")
        return bytes(found)

    return subtree


def _add_leaf(connection: sql.Connection, index: int, digest: bytes) -> None:
    stored = _stored(connection)
    level, place = 0, index
    connection.execute(_nodes.insert().values(level=0, place=index, hash=digest))
    while place & 1:
        digest = merkle.node_hash(stored(level, place - 1), digest)
        level, place = level + 1, place >> 1
        connection.execute(_nodes.insert().values(level=level, place=place, hash=digest))


def _check_nodes(connection: sql.Connection, leaves: Sequence[bytes]) -> list[Problem]:
    expected: dict[tuple[int, int], bytes] = {}
    level, row = 0, list(leaves)
    while row:
        expected.update({(level, place): digest for place, digest in enumerate(row)})
        pairs = zip(row[::2], row[1::2], strict=False)
        row = [merkle.node_hash(left, right) for left, right in pairs]
        level += 1
    problems = []
    stored = {
        (node.level, node.place): bytes(node.hash)
        for node in connection.execute(sql.select(_nodes))
    }
    for level, place in sorted(set(expected) ^ set(stored)):
        problems.append(Problem(None, f"tree node {level}/{place} is missing or does not belong"))
    for where in sorted(set(expected) & set(stored)):
        if expected[where] != stored[where]:
            first = where[1] << where[0]
            problems.append(Problem(first, f"tree node {where[0]}/{where[1]} is not its entries'"))
    return problems


def _sealed(row: sql.Row[Any]) -> Sealed:
    return Sealed(bytes(row.leaf), bytes(row.wrapped_key), bytes(row.box))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
