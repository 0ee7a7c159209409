"""A ledger in a folder, as it was at one moment: to move it, to keep it, to bring it back.

log.json       format, id, size, root, the secrets as wrapped by the master key, the signed checkpoint,
               the SHA-256 of entries.jsonl, and a MAC of all that
keys.jsonl     the keys of categories and data subjects, wrapped
entries.jsonl  the entries, encrypted as they are in the database
shredded.json  ids of keys that were destroyed here since, with a MAC

All of the keys lie in a file of their own, so that shredding reaches them and leaves the rest alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.files import sync_folder, write_atomically
from rescind.ledger import merkle, schema
from rescind.ledger import tree_store as tree
from rescind.ledger.database import Database
from rescind.ledger.fsck import Report
from rescind.ledger.keyring import Secrets
from rescind.ledger.keys import MasterKey
from rescind.ledger.log import Ledger
from rescind.ledger.log_state import LogState, read_log_state
from rescind.ledger.notes import Checkpoint, LogKey

FORMAT = "rescind.ledger.snapshot/1"
_LOG, _KEYS, _ENTRIES, _GONE = "log.json", "keys.jsonl", "entries.jsonl", "shredded.json"
_AT_ONCE = 1000
_LINE_BYTES = 2**26


class SnapshotInvalid(LedgerError):
    code = "ledger-snapshot-invalid"


class SnapshotOld(LedgerError):
    """Bringing it back would take back what the public chain already holds."""

    code = "ledger-snapshot-old"


@dataclass(frozen=True)
class Snapshot:
    """What log.json says, and where it lies."""

    folder: Path
    id: str
    size: int
    root: str
    time: int
    secrets: bytes
    checkpoint: Checkpoint
    entries: str
    mac: str

    def told(self) -> dict[str, Any]:
        """What the MAC is over."""
        return {
            "format": FORMAT,
            "id": self.id,
            "size": self.size,
            "root": self.root,
            "time": self.time,
            "secrets": _text(self.secrets),
            "checkpoint": str(self.checkpoint),
            "entries": self.entries,
        }


def write(ledger: Ledger, folder: Path) -> Snapshot:
    """Into a new folder, durably. Raises LedgerError when it is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise LedgerError(f"{folder} is not empty: choose a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ledger.database.snapshot() as connection:
        head = read_log_state(connection)
        _write_lines(folder / _KEYS, _rows(connection, schema.keys))
        _write_lines(folder / _ENTRIES, _rows(connection, schema.entries))
        root = merkle.root(head.size, tree.stored(connection))
    checkpoint, held = ledger.key.checkpoint(head.size, root), _hash(folder / _ENTRIES)
    it = Snapshot(
        folder, head.id, head.size, root.hex(), head.time, head.secrets, checkpoint, held, ""
    )
    told = it.told()
    mac = ledger.keyring.secrets.mac(told).hex()
    write_atomically(folder / _LOG, canonical_json({**told, "mac": mac}), mode=0o600)
    return read(folder)


def read(folder: Path) -> Snapshot:
    """Raises SnapshotInvalid."""
    path = folder / _LOG
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise SnapshotInvalid(f"{path}: {document['format']!r} is not {FORMAT!r}")
        checkpoint = Checkpoint.parse(document["checkpoint"])
        found = Snapshot(
            folder,
            document["id"],
            document["size"],
            document["root"],
            document["time"],
            _bytes(document["secrets"]),
            checkpoint,
            document["entries"],
            document["mac"],
        )
        if (checkpoint.size, checkpoint.root.hex()) != (found.size, found.root):
            raise SnapshotInvalid(f"{path}: the checkpoint is of another size or root")
    except OSError as error:
        raise SnapshotInvalid(f"no snapshot in {folder}: {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotInvalid(f"{path} is damaged: {error}") from error
    return found


def load(
    folder: Path, where: Path | str, master: MasterKey, anchors: Sequence[tuple[int, str]] = ()
) -> Report:
    """Make the ledger that a snapshot is of, and check all of it; nothing is left of one that is not
    sound. `anchors`: sizes and roots that the chain holds. Where keys were destroyed in the snapshot, a
    tombstone for them is the first new record.

    Raises SnapshotInvalid, SnapshotOld when the chain holds more, LedgerKeyError when the key is another
    one's, LedgerError when there is a ledger.
    """
    found = read(folder)
    newest = max((size for size, _ in anchors), default=0)
    if newest > found.size:
        raise SnapshotOld(
            f"{folder} holds {found.size} records and the chain anchors {newest}: what is missing was "
            "promised in public, and the contract takes no smaller log. Bring back a newer backup"
        )
    secrets = Secrets.unwrap(found.secrets, master, found.id)
    if not hmac.compare_digest(found.mac, secrets.mac(found.told()).hex()):
        raise SnapshotInvalid(f"{folder / _LOG} was changed")
    if _hash(folder / _ENTRIES) != found.entries:
        raise SnapshotInvalid(f"{folder / _ENTRIES} was changed")
    destroyed = _destroyed(folder, secrets)
    found.checkpoint.check_signed(LogKey.of(found.id, secrets.signing).verifier())
    database = Database(where)
    try:
        database.create()
    except BaseException:
        database.engine.dispose()
        raise
    try:
        _fill(database, found, secrets)
        with Ledger.open(where, master) as ledger:
            if destroyed:
                why = "destroyed in the snapshot that this log was brought back from"
                ledger.append("tombstone", {"keys": sorted(destroyed), "why": why})
            report = ledger.verify([*anchors, (found.size, found.root)])
        if not report.sound:
            first = report.problems[0]
            at = "" if first.index is None else f"record {first.index}: "
            raise SnapshotInvalid(f"{folder} is not sound: {at}{first.what}")
    except BaseException:
        database.drop()
        raise
    finally:
        database.engine.dispose()
    return report


def _fill(database: Database, found: Snapshot, secrets: Secrets) -> None:
    with database.writing() as connection:
        for rows in _batches(_read_lines(found.folder / _KEYS, schema.keys)):
            connection.execute(schema.keys.insert(), rows)
        known = set(connection.execute(sql.select(schema.keys.c.id)).scalars())
        size = 0
        for rows in _batches(_read_lines(found.folder / _ENTRIES, schema.entries)):
            for row in rows:
                if row["key"] not in known:
                    row["wrapped"] = row["box"] = None
            connection.execute(schema.entries.insert(), rows)
            tree.grow(connection, size, [merkle.leaf_hash(row["leaf"]) for row in rows])
            size += len(rows)
        if size != found.size:
            raise SnapshotInvalid(f"{found.folder} says {found.size} entries and has {size}")
        head = LogState(found.id, size, 0, found.time, found.secrets)
        connection.execute(schema.log.insert().values(**head.row(secrets)))


def forget(folder: Path, keys: set[str], secrets: Secrets) -> bool:
    """Destroy keys in a snapshot; False when it is not there. Their bytes are overwritten first."""
    path = folder / _KEYS
    if not path.is_file():
        return False
    before = path.read_bytes()
    lines = [(json.loads(line)["id"], line) for line in before.splitlines(keepends=True)]
    mine = {it for it, _ in lines} & keys
    if not mine:
        return True
    gone = sorted(_destroyed(folder, secrets) | mine)
    write_atomically(
        folder / _GONE,
        canonical_json({"keys": gone, "mac": _mac_of(gone, folder, secrets)}),
        mode=0o600,
    )
    replacement = path.with_name(f".{path.name}.new")
    write_atomically(
        replacement, b"".join(line for it, line in lines if it not in keys), mode=0o600
    )
    with path.open("r+b") as file:
        file.write(bytes(len(before)))
        file.flush()
        os.fsync(file.fileno())
    replacement.replace(path)
    sync_folder(folder)
    return True


def _destroyed(folder: Path, secrets: Secrets) -> set[str]:
    path = folder / _GONE
    if not path.exists():
        return set()
    try:
        found = json.loads(path.read_bytes())
        keys, mac = list(map(str, found["keys"])), str(found["mac"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotInvalid(f"{path} is damaged: {error}") from error
    if not hmac.compare_digest(mac.encode(), _mac_of(keys, folder, secrets).encode()):
        raise SnapshotInvalid(f"{path} was changed")
    return set(keys)


def _mac_of(keys: Sequence[str], folder: Path, secrets: Secrets) -> str:
    return secrets.mac(["shredded", read(folder).root, *keys]).hex()


def _rows(connection: sql.Connection, table: sql.Table) -> Iterator[bytes]:
    first = next(iter(table.primary_key.columns))
    query = sql.select(table).order_by(first).execution_options(yield_per=_AT_ONCE)
    for row in connection.execute(query):
        told = {k: _text(v) if isinstance(v, bytes) else v for k, v in row._mapping.items()}
        yield canonical_json(told) + b"\n"


def _write_lines(path: Path, lines: Iterator[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _read_lines(path: Path, table: sql.Table) -> Iterator[dict[str, Any]]:
    binary = {c.name for c in table.columns if isinstance(c.type, sql.LargeBinary)}
    names = {c.name for c in table.columns}
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n"):
                    raise SnapshotInvalid(f"{path}, line {number} is cut off")
                row = json.loads(line)
                if set(row) != names:
                    raise SnapshotInvalid(f"{path}, line {number}: not a row of {table.name}")
                yield {k: _bytes(v) if k in binary else v for k, v in row.items()}
    except OSError as error:
        raise SnapshotInvalid(f"{path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SnapshotInvalid(f"{path}, line {number} is damaged: {error}") from error


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: Any) -> Any:
    if value is None:
        return None
    raw = base64.b64decode(value, validate=True)
    if _text(raw) != value:
        raise ValueError("base64 that is not canonical")
    return raw


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SnapshotInvalid(f"{path}: {error.strerror}") from error
