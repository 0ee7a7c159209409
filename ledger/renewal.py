"""A new life for a ledger whose master key was stolen.

A thief with the key and a copy of the ledger has everything in that copy: `Ledger.rotate` keeps
the secrets that the key wrapped, and a renewal does not. It makes

1. a new log, with an id, a wrapping key, a hashing key and a signing key of its own;
2. a new key for each category and data subject, and a new data key for each record;
3. a record of type `renewal`, which holds the old log's final checkpoint, signed by its old key.

The leaves stay, because the public chain anchors them: the new log continues at the size and root
of the old, and every proof from before still holds.

All of that is one transaction. What follows it (the old bytes are overwritten, the keys in reachable
backups destroyed) is repeated by `finish_renewal` after a crash.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from rescind.core.errors import LedgerError
from rescind.core.json_text import parse_json
from rescind.ledger import merkle, schema, snapshot, tree_store
from rescind.ledger.keyring import Keyring, Secrets, SubjectKey
from rescind.ledger.keys import MasterKey
from rescind.ledger.log import Ledger
from rescind.ledger.log_state import read_log_state, write_log_state
from rescind.ledger.records import Record, open_committed
from rescind.ledger.shredding import backups
from rescind.ledger.writing import NewRecord

_AT_ONCE = 500
"""Rows of one query; bounds memory."""

_entries, _keys = schema.entries, schema.keys


@dataclass(frozen=True)
class Renewal:
    """The result of a renewal.

    Attributes:
        old_log: The id of the log before.
        log: The id of the log now.
        record: The index of the record that says so.
        size: The number of records that the old log had.
        destroyed: Backups of the old log whose keys were destroyed.
        out_of_reach: Backups of the old log that are not where they were written.
    """

    old_log: str
    log: str
    record: int
    size: int
    destroyed: tuple[str, ...]
    out_of_reach: tuple[str, ...]


def renew(ledger: Ledger, master: MasterKey, why: str = "the master key was stolen") -> Renewal:
    """Continue a ledger under a new master key and new secrets, and encrypt every record again.

    Args:
        ledger: The ledger, which no other process writes to. It is the new log afterwards.
        master: The new master key.
        why: The reason. The record keeps it, so it must name no person.

    Raises:
        LedgerError: A record cannot be read, or writing failed; then nothing was changed. Or the
            renewed ledger is there, and its old bytes could not be removed: finish the renewal.
    """
    old, old_key = ledger.keyring, ledger.key
    new = Keyring(secrets.token_hex(16), Secrets.new())
    try:
        with ledger.database.writing() as connection:
            state = read_log_state(connection, for_update=True)
            root = merkle.root(state.size, tree_store.stored_subtrees(connection))
            _Encryption(connection, old, new).run()
            wrapped = new.secrets.wrap(master, new.log_id)
            renewed = replace(state.changed(wrapped), id=new.log_id)
            write_log_state(connection, renewed, new.secrets)
            ledger.keyring = new
            payload = {
                "old_log": old.log_id,
                "key": str(old_key.verifier()),
                "checkpoint": str(old_key.checkpoint(state.size, root)),
                "size": state.size,
                "why": why,
            }
            ledger.add(connection, [NewRecord("renewal", payload)])
    except BaseException:
        ledger.keyring = old
        raise
    return finish_renewal(ledger)


def finish_renewal(ledger: Ledger) -> Renewal:
    """Remove what is left of the old log after its last renewal. It may be repeated.

    Raises:
        LedgerError: The ledger was not renewed, is not sound, or old bytes may still be readable.
    """
    renewals = [each for each in ledger.records("renewal") if isinstance(each, Record)]
    if not renewals:
        raise LedgerError(
            f"{ledger.database.name} is under that key already and was never renewed. Name a new "
            "key, which no one else can have."
        )
    last = renewals[-1]
    ledger.database.wipe()
    ledger.write_seal()
    report = ledger.verify()
    if not report.sound:
        raise LedgerError(
            f"{ledger.database.name} is not sound: {report.problems[0].what}. Its old backups were "
            "kept. Run rescind ledger fsck."
        )
    destroyed: list[str] = []
    out_of_reach: list[str] = []
    for folder in _old_backups(ledger, last.index):
        reached = snapshot.destroy_all_keys(folder)
        (destroyed if reached else out_of_reach).append(str(folder))
    return Renewal(
        str(last.payload["old_log"]),
        ledger.id,
        last.index,
        int(last.payload["size"]),
        tuple(destroyed),
        tuple(out_of_reach),
    )


def _old_backups(ledger: Ledger, before: int) -> list[Path]:
    """Return the folders of the backups that were written before a record."""
    newer = set(backups(ledger))
    return [folder for folder in backups(ledger, before=before) if folder not in newer]


class _Encryption:
    """The second encryption of every record, within one transaction."""

    def __init__(self, connection: sql.Connection, old: Keyring, new: Keyring) -> None:
        self._connection, self._old, self._new = connection, old, new
        rows = connection.execute(sql.select(_keys)).all()
        self._held = {row.id: old.open(row) for row in rows}
        self._fresh: dict[tuple[str, str], SubjectKey] = {}
        self._rows: list[dict[str, Any]] = []
        self._onces: set[str] = set()

    def run(self) -> None:
        update = (
            _entries.update()
            .where(_entries.c.position == sql.bindparam("at"))
            .values(
                {name: sql.bindparam(f"new_{name}") for name in ("key", "once", "wrapped", "box")}
            )
        )
        for rows in self._pieces():
            changed = [self._again(row) for row in rows if row.key in self._held]
            if changed:
                self._connection.execute(update, changed)
        self._connection.execute(_keys.delete())
        if self._rows:
            self._connection.execute(_keys.insert(), self._rows)

    def _pieces(self) -> Iterator[Sequence[sql.Row[Any]]]:
        after = -1
        while True:
            query = sql.select(_entries).where(_entries.c.position > after)
            rows = self._connection.execute(
                query.order_by(_entries.c.position).limit(_AT_ONCE)
            ).all()
            if not rows:
                return
            yield rows
            after = rows[-1].position

    def _again(self, row: sql.Row[Any]) -> dict[str, Any]:
        """Return the new columns of an entry."""
        inside = self._old.decrypt_record(self._held[row.key], row)
        record, _ = open_committed(row.position, bytes(row.leaf), inside)
        key = self._key(record)
        text = parse_json(inside).get("once")
        # Two spellings of one subject come under one key, where one of two equal keys stays.
        once = None if text is None else key.once(text)
        once = None if once in self._onces else once
        if once is not None:
            self._onces.add(once)
        wrapped, box = self._new.encrypt_record(key, row.position, once, inside)
        columns = {"key": key.id, "once": once, "wrapped": wrapped, "box": box}
        return {"at": row.position, **{f"new_{name}": each for name, each in columns.items()}}

    def _key(self, record: Record) -> SubjectKey:
        hashed = self._new.secrets.subject(record.subject)
        key = self._fresh.get((record.type, hashed))
        if key is None:
            key, row = self._new.make(record.type, hashed, secrets.token_hex(16))
            self._fresh[record.type, hashed] = key
            self._rows.append(row)
        return key
