"""A copy of a ledger in a folder, as it was at one moment: to move it, keep it or restore it.

log.json       format, id, size, root, the secrets as wrapped by the master key, the signed
               checkpoint, the SHA-256 of entries.jsonl, and a MAC of all that
keys.jsonl     the keys of categories and data subjects, wrapped
entries.jsonl  the entries, encrypted as they are in the database
shredded.json  ids of keys that were destroyed here since, with a MAC

All keys lie in a file of their own, so that shredding can reach them and leave the rest alone.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from rescind.core import (
    make_private_folder,
    sync_folder,
    write_private,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.json_text import parse_json
from rescind.ledger import merkle, schema, tree_store
from rescind.ledger.database import Database
from rescind.ledger.fsck import Report
from rescind.ledger.keyring import Secrets
from rescind.ledger.keys import MasterKey
from rescind.ledger.log import Ledger
from rescind.ledger.log_state import LogState, read_log_state
from rescind.ledger.notes import Checkpoint, LogKey
from rescind.ledger.table_lines import (
    SnapshotInvalid,
    as_bytes,
    as_text,
    batches,
    hash_of,
    lines_of,
    read_lines,
    write_lines,
)

FORMAT = "rescind.ledger.snapshot/1"
_LOG, _KEYS, _ENTRIES, _SHREDDED = "log.json", "keys.jsonl", "entries.jsonl", "shredded.json"
_REPLACEMENT = f".{_KEYS}.new"
"""The keys that stay, until they take the place of all."""


class SnapshotOld(LedgerError):
    """A snapshot holds less than the public chain anchors."""

    code = "ledger-snapshot-old"


@dataclass(frozen=True)
class Snapshot:
    """The content of log.json.

    Attributes:
        folder: The folder of the snapshot.
        id: The log's id.
        size: The number of entries.
        root: Their root, in hexadecimal.
        time: The time of the last record, in Unix seconds.
        secrets: The log's secrets, wrapped by the master key.
        checkpoint: The signed size and root.
        entries: The SHA-256 of entries.jsonl, in hexadecimal.
        mac: The MAC over the rest, in hexadecimal.
    """

    folder: Path
    id: str
    size: int
    root: str
    time: int
    secrets: bytes
    checkpoint: Checkpoint
    entries: str
    mac: str

    def authenticated(self) -> dict[str, Any]:
        """Return what the MAC is over."""
        return {
            "format": FORMAT,
            "id": self.id,
            "size": self.size,
            "root": self.root,
            "time": self.time,
            "secrets": as_text(self.secrets),
            "checkpoint": str(self.checkpoint),
            "entries": self.entries,
        }


def write(ledger: Ledger, folder: Path) -> Snapshot:
    """Write a snapshot of a ledger to a new folder, durably.

    Raises:
        LedgerError: The folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise LedgerError(f"{folder} is not empty: choose another folder")
    make_private_folder(folder)
    with ledger.database.snapshot() as connection:
        state = read_log_state(connection)
        write_lines(folder / _KEYS, lines_of(connection, schema.keys))
        write_lines(folder / _ENTRIES, lines_of(connection, schema.entries))
        root = merkle.root(state.size, tree_store.stored_subtrees(connection))
    checkpoint, entries = ledger.key.checkpoint(state.size, root), hash_of(folder / _ENTRIES)
    snapshot = Snapshot(
        folder=folder,
        id=state.id,
        size=state.size,
        root=root.hex(),
        time=state.time,
        secrets=state.secrets,
        checkpoint=checkpoint,
        entries=entries,
        mac="",
    )
    document = snapshot.authenticated()
    mac = ledger.keyring.secrets.mac(document).hex()
    write_private(folder / _LOG, canonical_json({**document, "mac": mac}))
    return read(folder)


def read(folder: Path) -> Snapshot:
    """Read log.json of a snapshot; its MAC is not checked, since that takes the master key.

    Raises:
        SnapshotInvalid: The file is missing or damaged.
    """
    path = folder / _LOG
    try:
        document = parse_json(path.read_bytes())
        if document["format"] != FORMAT:
            raise SnapshotInvalid(
                f"{path} has format {document['format']!r}; this version reads {FORMAT!r}"
            )
        _check_types(document)
        checkpoint = Checkpoint.parse(document["checkpoint"])
        snapshot = Snapshot(
            folder,
            document["id"],
            document["size"],
            document["root"],
            document["time"],
            as_bytes(document["secrets"]),
            checkpoint,
            document["entries"],
            document["mac"],
        )
        if (checkpoint.size, checkpoint.root.hex()) != (snapshot.size, snapshot.root):
            raise SnapshotInvalid(f"{path} is damaged: its checkpoint has another size or root")
    except OSError as error:
        raise SnapshotInvalid(
            f"there is no snapshot in {folder}: {path}: {error.strerror}"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotInvalid(f"{path} is damaged: {error}") from error
    return snapshot


def _check_types(document: Mapping[str, Any]) -> None:
    """Check what is used before the MAC is, which needs the secrets that the file holds.

    Raises:
        ValueError: A value has another type.
    """
    texts, numbers = ("id", "root", "secrets", "checkpoint", "entries", "mac"), ("size", "time")
    for names, kind in ((texts, str), (numbers, int)):
        for name in names:
            if type(document[name]) is not kind:
                raise ValueError(f"{name!r} must be of type {kind.__name__}")


def load(
    folder: Path, where: Path | str, master: MasterKey, anchors: Sequence[tuple[int, str]] = ()
) -> Report:
    """Restore a ledger from a snapshot and check all of it; on error no ledger is left behind.

    Where keys were destroyed in the snapshot, a tombstone for them is the first new record.

    Args:
        folder: The snapshot.
        where: The folder or PostgreSQL URL of the new ledger.
        master: The master key.
        anchors: Sizes and roots that the chain holds.

    Raises:
        SnapshotInvalid: The snapshot is damaged or was changed.
        SnapshotOld: The chain anchors more entries.
        LedgerKeyError: The master key belongs to another ledger.
        LedgerError: There is a ledger already.
    """
    snapshot = read(folder)
    newest = max((size for size, _ in anchors), default=0)
    if newest > snapshot.size:
        raise SnapshotOld(
            f"{folder} holds {snapshot.size} records, but the chain anchors {newest}, and the "
            "contract does not accept a smaller log: restore a newer backup"
        )
    secrets = Secrets.unwrap(snapshot.secrets, master, snapshot.id)
    if not hmac.compare_digest(snapshot.mac, secrets.mac(snapshot.authenticated()).hex()):
        raise SnapshotInvalid(f"{folder / _LOG} was changed: its MAC does not match")
    if hash_of(folder / _ENTRIES) != snapshot.entries:
        raise SnapshotInvalid(
            f"{folder / _ENTRIES} was changed: its SHA-256 is not the one in {_LOG}"
        )
    destroyed = _destroyed(folder, secrets)
    snapshot.checkpoint.check_signed(LogKey.of(snapshot.id, secrets.signing).verifier())
    database = Database(where)
    try:
        database.create()
    except BaseException:
        database.engine.dispose()
        raise
    try:
        _fill(database, snapshot, secrets)
        with Ledger.open(where, master) as ledger:
            if destroyed:
                why = "destroyed in the snapshot that this log was restored from"
                ledger.append("tombstone", {"keys": sorted(destroyed), "why": why})
            report = ledger.verify([*anchors, (snapshot.size, snapshot.root)])
        if not report.sound:
            first = report.problems[0]
            at = "" if first.index is None else f"record {first.index}: "
            raise SnapshotInvalid(f"{folder} does not hold a sound ledger: {at}{first.what}")
    except BaseException:
        database.drop()
        raise
    finally:
        database.engine.dispose()
    return report


def _fill(database: Database, snapshot: Snapshot, secrets: Secrets) -> None:
    with database.writing() as connection:
        for rows in batches(read_lines(snapshot.folder / _KEYS, schema.keys)):
            connection.execute(schema.keys.insert(), rows)
        key_ids = set(connection.execute(sql.select(schema.keys.c.id)).scalars())
        size = 0
        for rows in batches(read_lines(snapshot.folder / _ENTRIES, schema.entries)):
            for row in rows:
                if row["key"] not in key_ids:
                    row["once"] = row["wrapped"] = row["box"] = None
            connection.execute(schema.entries.insert(), rows)
            tree_store.grow(connection, size, [merkle.leaf_hash(row["leaf"]) for row in rows])
            size += len(rows)
        if size != snapshot.size:
            raise SnapshotInvalid(
                f"{snapshot.folder} has {size} entries, but {_LOG} says {snapshot.size}"
            )
        state = LogState(snapshot.id, size, 0, snapshot.time, snapshot.secrets)
        connection.execute(schema.log.insert().values(**state.row(secrets)))


def destroy_keys(folder: Path, keys: set[str], secrets: Secrets) -> bool:
    """Destroy keys in a snapshot, after overwriting their bytes.

    Args:
        folder: The snapshot.
        keys: The ids of the keys.
        secrets: The secrets of the log.

    Returns:
        False when there is no snapshot in the folder.
    """
    path = folder / _KEYS
    if not path.is_file():
        return False
    _finish_interrupted(folder)
    before = path.read_bytes()
    lines = [(parse_json(line)["id"], line) for line in before.splitlines(keepends=True)]
    present = {key for key, _ in lines} & keys
    if not present:
        return True
    destroyed = sorted(_destroyed(folder, secrets) | present)
    write_private(
        folder / _SHREDDED,
        canonical_json({"keys": destroyed, "mac": _mac_of(destroyed, folder, secrets)}),
    )
    replacement = folder / _REPLACEMENT
    write_private(replacement, b"".join(line for key, line in lines if key not in keys))
    with path.open("r+b") as file:
        file.write(bytes(len(before)))
        file.flush()
        os.fsync(file.fileno())
    replacement.replace(path)
    sync_folder(folder)
    return True


def _finish_interrupted(folder: Path) -> None:
    """Put a snapshot's keys in order after `destroy_keys` was killed at any point."""
    path, replacement = folder / _KEYS, folder / _REPLACEMENT
    if replacement.is_file() and path.read_bytes()[:1] == b"\0":
        # Killed while the old keys were being overwritten: only the replacement is complete.
        replacement.replace(path)
    for stray in folder.glob(f".{_KEYS}.*"):
        stray.unlink()
    sync_folder(folder)


def destroy_all_keys(folder: Path) -> bool:
    """Overwrite and delete the file of keys of a snapshot, which is of no use afterwards.

    Returns:
        False when there is no snapshot in the folder. True when its keys are gone already.

    Raises:
        LedgerError: The file cannot be overwritten.
    """
    if not (folder / _LOG).is_file():
        return False
    path = folder / _KEYS
    try:
        # Files of an interrupted `destroy_keys` hold keys too.
        for path in (*folder.glob(f".{_KEYS}.*"), *folder.glob(_KEYS)):
            with path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        sync_folder(folder)
    except OSError as error:
        raise LedgerError(
            f"the keys in {path} could not be destroyed: {error.strerror}. Delete that file."
        ) from error
    return True


def _destroyed(folder: Path, secrets: Secrets) -> set[str]:
    path = folder / _SHREDDED
    if not path.exists():
        return set()
    try:
        document = parse_json(path.read_bytes())
        keys, mac = list(map(str, document["keys"])), str(document["mac"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SnapshotInvalid(f"{path} is damaged: {error}") from error
    if not hmac.compare_digest(mac.encode(), _mac_of(keys, folder, secrets).encode()):
        raise SnapshotInvalid(f"{path} was changed: its MAC does not match")
    return set(keys)


def _mac_of(keys: Sequence[str], folder: Path, secrets: Secrets) -> str:
    return secrets.mac(["shredded", read(folder).root, *keys]).hex()
