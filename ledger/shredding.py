"""Erasure of a data subject from a log that cannot be rewritten.

The subject's keys are destroyed, with the ciphertexts under them. The leaves stay, and with them
every root and proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sql

from rescind.ledger import schema, snapshot
from rescind.ledger.log import Ledger
from rescind.ledger.log_state import read_log_state, write_log_state
from rescind.ledger.records import Record, shredded_record
from rescind.ledger.writing import NewRecord

_entries, _keys = schema.entries, schema.keys


@dataclass(frozen=True)
class Shred:
    """The result of shredding.

    Attributes:
        records: The number of records that were shredded.
        keys: The number of keys that were destroyed.
        tombstone: The index of the record that says so; None when no record was about the subject.
        cleaned: Backups of this ledger whose copies of the keys were destroyed.
        out_of_reach: Backups that are not where they were written.
    """

    records: int
    keys: int
    tombstone: int | None
    cleaned: tuple[str, ...]
    out_of_reach: tuple[str, ...]


def shred(ledger: Ledger, subject: str, why: str = "erasure requested") -> Shred:
    """Destroy a subject's keys in the ledger and in the backups that can be reached.

    It may be repeated, and must be repeated if it was interrupted.

    Args:
        ledger: The ledger.
        subject: The name of the data subject.
        why: The reason. The tombstone keeps it, so it must not name the subject.

    Raises:
        LedgerError: Shredded data may still be readable; the message says what to do.
    """
    count, keys, tombstone = _destroy(ledger, subject, why)
    ledger.database.wipe()
    keys_destroyed = shredded_keys(ledger)
    cleaned: list[str] = []
    out_of_reach: list[str] = []
    for folder in backups(ledger):
        reached = snapshot.destroy_keys(folder, keys_destroyed, ledger.keyring.secrets)
        (cleaned if reached else out_of_reach).append(str(folder))
    ledger.write_seal()
    return Shred(count, keys, tombstone, tuple(cleaned), tuple(out_of_reach))


def _destroy(ledger: Ledger, subject: str, why: str) -> tuple[int, int, int | None]:
    hashed = ledger.keyring.secrets.subject(subject)
    with ledger.database.writing() as connection:
        read_log_state(connection, for_update=True)
        ids = connection.execute(sql.select(_keys.c.id).where(_keys.c.subject == hashed))
        keys = sorted(ids.scalars().all())
        if not keys:
            return 0, 0, None
        held = _entries.c.key.in_(keys)
        count = connection.execute(sql.select(sql.func.count()).where(held)).scalar_one()
        payload = {"keys": keys, "records": count, "why": why}
        entry = ledger.add(connection, [NewRecord("tombstone", payload)])[0]
        connection.execute(_entries.update().where(held).values(once=None, wrapped=None, box=None))
        connection.execute(_keys.delete().where(_keys.c.id.in_(keys)))
        changed = read_log_state(connection).changed()
        write_log_state(connection, changed, ledger.keyring.secrets)
    return count, len(keys), entry.index


def was_shredded(ledger: Ledger, type_: str) -> bool:
    """Return whether any record of a type was shredded.

    Its idempotency key went with it, so that a record with the same key would be appended again.
    """
    query = sql.select(_entries.c.position, _entries.c.leaf).where(_entries.c.box.is_(None))
    with ledger.database.reading() as connection:
        rows = connection.execute(query.execution_options(yield_per=1000))
        return any(shredded_record(row.position, bytes(row.leaf)).type == type_ for row in rows)


def shredded_keys(ledger: Ledger) -> set[str]:
    """Return the ids of all keys that were ever shredded."""
    return {
        key
        for record in ledger.records("tombstone")
        if isinstance(record, Record)
        for key in record.payload["keys"]
    }


def backups(ledger: Ledger, before: int | None = None) -> list[Path]:
    """Return the folders that backups were written to, each once.

    Args:
        ledger: The ledger.
        before: Return those before this record instead. By default those since the last renewal,
            because older ones belong to the log before it.
    """
    renewals = [each.index for each in ledger.records("renewal")]
    start = 0 if before is not None else max(renewals, default=0)
    folders = [
        record.payload["path"]
        for record in ledger.records("backup", start=start)
        if isinstance(record, Record) and (before is None or record.index < before)
    ]
    return [Path(folder) for folder in dict.fromkeys(folders)]
