"""The SQLite file of an event index: logs, and the blocks up to which they were read.

Every row can be read from the chain again, so a damaged file is deleted and begun again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rescind.contracts.log_filter import LogFilter, placeholders
from rescind.contracts.rpc import Log
from rescind.core import ensure_private, make_private_folder
from rescind.core.errors import ConfigError, StoreError
from rescind.core.sqlite import (
    BUSY_SECONDS,
    is_damaged,
    is_locked,
    locked_advice,
    prepare_sqlite,
)

_T = TypeVar("_T")
_APPLICATION = 0x52534349
"""SQLite's application id of these files, "RSCI"."""
_VERSION = 1
_KEPT = 256
"""Blocks below the newest whose hashes are all kept, so that a reorganization is found exactly."""
_SPARSE = 250
"""Further down, one hash in so many blocks is kept."""
_MAGIC = b"SQLite format 3\x00"
_APPLICATION_AT = 68
"""Where the application id stands in a SQLite file's header."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logs (
    block INTEGER NOT NULL, place INTEGER NOT NULL, block_hash TEXT NOT NULL,
    tx_hash TEXT NOT NULL, address TEXT NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB,
    data BLOB NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (block, place)
);
CREATE INDEX IF NOT EXISTS logs_by_topic ON logs (topic0, topic1, block);
"""


class IndexRefused(ConfigError):
    """The file that was named as an index belongs to another consortium, or is not an index."""


class IndexUnusable(StoreError):
    """The file of an index cannot be opened, read or written."""


class Overtaken(Exception):
    """Another process changed the file since it was read."""


class _Damaged(Exception):
    """The file does not hold what was written to it."""


@dataclass(frozen=True)
class Point:
    """A block up to which the logs of one chain were read.

    Attributes:
        number: The block's number.
        hash: Its hash; empty for the block before the first one, which needs no check.
    """

    number: int
    hash: str


class EventStore:
    """Logs and read blocks of one consortium's contracts.

    One object may be used by several threads, one at a time, and one file by several processes.

    Args:
        path: The file; None keeps everything in memory.
        identity: What the file belongs to, such as the chain's id and the contracts' addresses.
        owned: Whether the file belongs to the caller alone, such as one in a daemon's state folder.
            Then a file of another consortium, or one that is not an index, is begun again; otherwise
            it is refused, because its name may have been mistyped.
        report: Called with one line when a file is begun again.

    Raises:
        IndexRefused: The file belongs to another consortium, or is not an index.
        IndexUnusable: The file cannot be opened or written.
    """

    def __init__(
        self,
        path: Path | None,
        identity: Mapping[str, object],
        *,
        owned: bool,
        report: Callable[[str], None],
    ) -> None:
        self._path, self._owned, self._report = path, owned, report
        self._identity = json.dumps(identity, sort_keys=True)
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            self._refuse_other_files(path)
        with contextlib.suppress(Overtaken):
            self._attempt(self._bind)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def newest(self, up_to: int | None = None) -> Point | None:
        """Return the last block that was read, or the last one up to a block."""
        limit = 2**63 - 1 if up_to is None else up_to
        return self._point("number <= ? ORDER BY number DESC", limit)

    def next_after(self, block: int) -> Point | None:
        """Return the first block above another whose hash is kept."""
        return self._point("number > ? ORDER BY number", block)

    def points_down_from(self, block: int) -> list[Point]:
        """Return the blocks up to one whose hashes are kept, the highest first."""
        query = "SELECT number, hash FROM blocks WHERE number <= ? ORDER BY number DESC"
        rows = self._attempt(lambda connection: connection.execute(query, (block,)).fetchall())
        return [Point(*row) for row in rows]

    def append(self, base: Point, point: Point, logs: Sequence[Log]) -> None:
        """Add the logs of the blocks above `base` up to `point`, all or none of them.

        Raises:
            Overtaken: `base` is not the last block that was read.
        """

        def write(connection: sqlite3.Connection) -> None:
            with _writing(connection):
                newest = connection.execute(
                    "SELECT number, hash FROM blocks ORDER BY number DESC LIMIT 1"
                ).fetchone()
                if (newest is None and base.hash) or (
                    newest is not None and Point(*newest) != base
                ):
                    raise Overtaken
                connection.executemany(
                    f"INSERT INTO logs VALUES ({placeholders(11)})", [_row(each) for each in logs]
                )
                connection.execute("INSERT INTO blocks VALUES (?, ?)", (point.number, point.hash))
                connection.execute(
                    f"DELETE FROM blocks WHERE number % {_SPARSE} != 0 AND number < ?",
                    (point.number - _KEPT,),
                )

        self._attempt(write)

    def drop_after(self, block: int) -> None:
        """Delete everything above a block."""

        def write(connection: sqlite3.Connection) -> None:
            with _writing(connection):
                connection.execute("DELETE FROM logs WHERE block > ?", (block,))
                connection.execute("DELETE FROM blocks WHERE number > ?", (block,))

        self._attempt(write)

    def logs(self, wanted: LogFilter, proof: Point) -> list[Log]:
        """Return the wanted logs, in the order of the chain.

        Args:
            wanted: Which logs.
            proof: A read block that is on the chain and not below the wanted ones.

        Raises:
            Overtaken: `proof` is not in the file any more.
        """
        condition, values = wanted.sql()
        query = f"SELECT * FROM logs WHERE {condition} ORDER BY block, place"

        def read(connection: sqlite3.Connection) -> list[Log]:
            # One transaction: another process may drop blocks between two statements.
            connection.execute("BEGIN")
            try:
                present = connection.execute(
                    "SELECT 1 FROM blocks WHERE number = ? AND hash = ?", (proof.number, proof.hash)
                ).fetchone()
                if present is None and proof.hash:
                    raise Overtaken
                return [_log(row) for row in connection.execute(query, values)]
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("COMMIT")

        return self._attempt(read)

    def _point(self, condition: str, value: int) -> Point | None:
        query = f"SELECT number, hash FROM blocks WHERE {condition} LIMIT 1"
        row = self._attempt(lambda connection: connection.execute(query, (value,)).fetchone())
        return None if row is None else Point(*row)

    def _attempt(self, action: Callable[[sqlite3.Connection], _T]) -> _T:
        """Perform an action; when the file is damaged, begin the file again.

        Raises:
            Overtaken: The file was begun again, so it holds nothing that was read before.
            IndexUnusable: The file cannot be read or written.
        """
        try:
            return action(self._open())
        except (sqlite3.Error, _Damaged, OSError) as error:
            self.close()
            damaged = isinstance(error, _Damaged) or is_damaged(error)
            if self._path is None or not damaged:
                raise self._failure(error) from None
            reason = error
        self._begin_again(f"is damaged ({reason})")
        raise Overtaken

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._path is not None:
            make_private_folder(self._path.parent)
            # SQLite gives the files beside this one (-wal, -shm) the mode of this one.
            ensure_private(self._path)
        connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # The id comes before the write-ahead log, so that it is in the file's own header at once.
        if connection.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
        if self._path is not None:
            prepare_sqlite(connection, self._path, IndexUnusable)
            # A power failure costs the last pages, which are read again.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=OFF").fetchall()
        tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('about', 'blocks', 'logs')"
        if connection.execute(tables).fetchone() != (3,):
            with _writing(connection):
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)

    def _bind(self, connection: sqlite3.Connection) -> None:
        """Compare what the file belongs to; a new file gets it."""
        wanted = {"version": str(_VERSION), "identity": self._identity}
        with _writing(connection):
            stored = dict(connection.execute("SELECT key, value FROM about").fetchall())
            if not stored:
                connection.executemany("INSERT INTO about VALUES (?, ?)", wanted.items())
        if stored and stored != wanted:
            self.close()
            self._replace_other(stored)

    def _replace_other(self, stored: Mapping[str, str]) -> None:
        same = stored.get("identity") == self._identity
        if not same and not self._owned:
            raise IndexRefused(
                f"{self._path} is the event index of another chain or consortium. Pass --index with "
                "another file, or delete this one."
            )
        self._begin_again(
            "has another format" if same else "belongs to another chain or consortium"
        )

    def _refuse_other_files(self, path: Path) -> None:
        """Refuse a file that is not an index, unless the file is the caller's own.

        Raises:
            IndexRefused: The file holds something else.
        """
        try:
            with path.open("rb") as file:
                header = file.read(100)
        except FileNotFoundError:
            return
        except OSError as error:
            raise IndexRefused(f"{path} cannot be read: {error.strerror}") from error
        application = header[_APPLICATION_AT : _APPLICATION_AT + 4]
        is_index = header.startswith(_MAGIC) and application == _APPLICATION.to_bytes(4, "big")
        if not header or is_index:
            return
        if not self._owned:
            raise IndexRefused(
                f"{path} is not an event index, and was left as it is. Pass --index with another "
                "file, or delete this one."
            )
        self._begin_again("is damaged (not an event index)")

    def _begin_again(self, why: str) -> None:
        assert self._path is not None
        self._report(f"the event index {self._path} {why}: it is read from the chain again")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).unlink()
        try:
            self._bind(self._open())
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> IndexUnusable:
        if self._path is not None and is_locked(error):
            return IndexUnusable(locked_advice(self._path))
        return IndexUnusable(f"the event index {self._path or ''} cannot be used: {error}")


@contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block as one transaction that holds the file's lock from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _row(log: Log) -> tuple[object, ...]:
    topics = (*log.topics, None, None, None, None)[:4]
    row = (log.block, log.index, log.block_hash, log.tx_hash, log.address, *topics, log.data)
    return (*row, _checksum(row))


def _log(row: tuple[object, ...]) -> Log:
    *fields, checksum = row
    if _checksum(tuple(fields)) != checksum:
        raise _Damaged("a log is not what was written")
    block, place, block_hash, tx_hash, address, *topics, data = fields
    present = tuple(each for each in topics if each is not None)
    return Log(address, present, data, block, tx_hash, block_hash, place)  # type: ignore[arg-type]


def _checksum(fields: tuple[object, ...]) -> int:
    """Return a checksum of a row: SQLite itself has none."""
    return zlib.crc32(repr(fields).encode())
