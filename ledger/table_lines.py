"""Tables of a ledger as files: a line of canonical JSON for each row."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from rescind.core import create_private
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.json_text import parse_json

_AT_ONCE = 1000
"""Rows of one query; bounds memory."""
_LARGEST = 2**63
_LINE_BYTES = 2**26
"""The longest line that is read; a record has at most 16 MiB before encryption and base64."""


class SnapshotInvalid(LedgerError):
    """A snapshot is damaged, was changed, or is not there."""

    code = "ledger-snapshot-invalid"


def lines_of(connection: sql.Connection, table: sql.Table) -> Iterator[bytes]:
    """Yield the rows of a table as lines of canonical JSON, in the order of its key."""
    first = next(iter(table.primary_key.columns))
    query = sql.select(table).order_by(first).execution_options(yield_per=_AT_ONCE)
    for row in connection.execute(query):
        columns = {k: as_text(v) if isinstance(v, bytes) else v for k, v in row._mapping.items()}
        yield canonical_json(columns) + b"\n"


def write_lines(path: Path, lines: Iterator[bytes]) -> None:
    """Write lines into a new private file, and wait until they are on the disk."""
    with create_private(path) as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path, table: sql.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table from their lines.

    Raises:
        SnapshotInvalid: A line is not a row of the table, or the file cannot be read.
    """
    binary = {c.name for c in table.columns if isinstance(c.type, sql.LargeBinary)}
    names = {c.name for c in table.columns}
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n"):
                    raise SnapshotInvalid(f"{path}, line {number} is cut off")
                row = parse_json(line)
                if set(row) != names:
                    raise SnapshotInvalid(
                        f"{path}, line {number} is damaged: it is not a row of table {table.name}"
                    )
                yield {k: as_bytes(v) if k in binary else _checked(v) for k, v in row.items()}
    except OSError as error:
        raise SnapshotInvalid(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SnapshotInvalid(f"{path}, line {number} is damaged: {error}") from error


def _checked(value: Any) -> Any:
    """Return a text or a number that a database takes.

    Raises:
        ValueError: It is something else.
    """
    if value is None or type(value) is str:
        return value
    if type(value) is not int or not -_LARGEST <= value < _LARGEST:
        raise ValueError(f"{str(value)[:100]} is neither text nor a number of 64 bits")
    return value


def batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield rows in lists, so that memory is bounded."""
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def as_text(value: bytes) -> str:
    """Return bytes in base64."""
    return base64.b64encode(value).decode()


def as_bytes(value: Any) -> Any:
    """Return the bytes that a text in canonical base64 stands for; None for None.

    Raises:
        ValueError: It is not canonical base64.
    """
    if value is None:
        return None
    raw = base64.b64decode(value, validate=True)
    if as_text(raw) != value:
        raise ValueError("its base64 is not canonical")
    return raw


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        SnapshotInvalid: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SnapshotInvalid(f"{path} cannot be read: {error.strerror}") from error
