"""Forgetting a data subject in a log that cannot be rewritten: its keys are destroyed, and what they
locked; the leaves stay, and with them every root and proof."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from rescind.ledger import schema, snapshot
from rescind.ledger.log import Ledger, NewRecord
from rescind.ledger.log_state import read_log_state, write_log_state
from rescind.ledger.records import Record

_entries, _keys = schema.entries, schema.keys


@dataclass(frozen=True)
class Shred:
    """`tombstone`: index of the record that says so, or None when there was nothing of the subject.
    `cleaned`, `out_of_reach`: backups that this ledger recorded, whose copies of the keys are destroyed,
    and those that are not where they were written to."""

    records: int
    keys: int
    tombstone: int | None
    cleaned: tuple[str, ...]
    out_of_reach: tuple[str, ...]


def shred(ledger: Ledger, subject: str, why: str = "erasure requested") -> Shred:
    """Destroy the subject's keys here and in the backups that can be reached. `why` must name nobody.

    May be repeated, and must be after it was interrupted. Raises LedgerError when something of what was
    shredded may still be read; the message says what to do.
    """
    count, keys, tombstone = _destroy(ledger, subject, why)
    ledger.database.wipe()
    gone = buried(ledger)
    cleaned: list[str] = []
    lost: list[str] = []
    for folder in backups(ledger):
        (cleaned if snapshot.forget(folder, gone, ledger.keyring.secrets) else lost).append(
            str(folder)
        )
    ledger.write_seal()
    return Shred(count, keys, tombstone, tuple(cleaned), tuple(lost))


def _destroy(ledger: Ledger, subject: str, why: str) -> tuple[int, int, int | None]:
    hashed = ledger.keyring.secrets.subject(subject)
    with ledger.database.writing() as connection:
        read_log_state(connection, for_update=True)
        mine = connection.execute(sql.select(_keys.c.id).where(_keys.c.subject == hashed))
        keys = sorted(mine.scalars().all())
        if not keys:
            return 0, 0, None
        held = _entries.c.key.in_(keys)
        count = connection.execute(sql.select(sql.func.count()).where(held)).scalar_one()
        payload = {"keys": keys, "records": count, "why": why}
        entry = ledger.add(connection, [NewRecord("tombstone", payload)])[0]
        connection.execute(_entries.update().where(held).values(wrapped=None, box=None))
        connection.execute(_keys.delete().where(_keys.c.id.in_(keys)))
        changed = read_log_state(connection).changed()
        write_log_state(connection, changed, ledger.keyring.secrets)
    return count, len(keys), entry.index


def buried(ledger: Ledger) -> set[str]:
    """Ids of all keys that were ever shredded."""
    return {
        key
        for it in ledger.records("tombstone")
        if isinstance(it, Record)
        for key in it.payload["keys"]
    }


def backups(ledger: Ledger) -> list[Path]:
    """Folders that backups were written to."""
    found = [it.payload["path"] for it in ledger.records("backup") if isinstance(it, Record)]
    return [Path(it) for it in dict.fromkeys(found)]
