"""SQLite files as the ledger and the daemons' journals keep them: durable, with a write-ahead log."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from rescind.core.errors import RescindError

BUSY_SECONDS = 10.0
"""How long to wait for a lock. The command line opens the files of a running daemon."""
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}


def sqlite_url(path: Path) -> sql.URL:
    """Return the URL of a file whose path may hold any character, `?`, `#` and `%` too."""
    return sql.URL.create("sqlite", database=str(path.absolute()))


def prepare_sqlite(connection: Any, path: Path, error: type[RescindError]) -> None:
    """Set up a new connection.

    Args:
        connection: The connection of the module sqlite3.
        path: The file.
        error: The error to raise.

    Raises:
        RescindError: `error`, when the file system does not support the write-ahead log.
    """
    # The timeout comes first: the next statement already needs a lock.
    connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}").fetchall()
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise error(
            f"The file system of {path} does not support SQLite's write-ahead log (journal mode "
            f"{mode}), as network file systems do not. Put the file on a local disk, or keep a "
            "ledger in PostgreSQL."
        )
    # FULL: a commit is on the disk when it returns. secure_delete: deleted rows are zeroed.
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def is_locked(error: BaseException) -> bool:
    """Return whether a database error says that another process holds the SQLite file."""
    return _code(error) in _LOCKED


def is_damaged(error: BaseException) -> bool:
    """Return whether a database error says that a SQLite file is not what was written to it."""
    code, text = _code(error), str(getattr(error, "orig", error))
    return code in _DAMAGED or text.startswith(("no such table", "no such column"))


def locked_advice(path: Path | str) -> str:
    """Return the message for a file that stayed locked."""
    return (
        f"another process has kept {path} locked for more than {BUSY_SECONDS:g} s. Stop it, or wait "
        "and try again. Nothing is damaged."
    )


def _code(error: BaseException) -> int | None:
    """Return the primary result code of a SQLite error, if it is one."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
