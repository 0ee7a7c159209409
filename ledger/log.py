"""An organization's private ledger: an append-only, encrypted RFC 9162 log in a database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sql
from sqlalchemy.exc import SQLAlchemyError

from rescind.core.errors import LedgerError
from rescind.ledger import schema, tree_store
from rescind.ledger.database import Database, LedgerDamaged, reason
from rescind.ledger.file_macs import Seal
from rescind.ledger.fsck import Problem, Report, check
from rescind.ledger.keyring import Keyring, Secrets
from rescind.ledger.keys import LedgerKeyError, MasterKey
from rescind.ledger.log_state import LogState, read_log_state, write_log_state
from rescind.ledger.reading import LogReader
from rescind.ledger.records import (
    check_key,
    check_payload,
)
from rescind.ledger.writing import Entry, NewRecord, Writer

_PATIENCE = 60
"""Seconds by which the clock may step back, as time synchronization does."""


class ClockWentBack(LedgerError):
    """The machine's clock is behind the last record."""

    code = "ledger-clock"


class Ledger(LogReader):
    """A ledger in a folder or in a PostgreSQL database.

    Open it with `Ledger.open` and use it as a context manager, so that it is sealed when it closes.
    """

    def __init__(
        self,
        database: Database,
        master: MasterKey,
        clock: Callable[[], float] = time.time,
        ran_ahead: int = 0,
    ) -> None:
        with database.reading() as connection:
            state = read_log_state(connection)
        try:
            keyring = Keyring(state.id, Secrets.unwrap(state.secrets, master, state.id))
        except LedgerKeyError as error:
            raise LedgerKeyError(f"{database.name}: {error}") from error
        super().__init__(database, keyring)
        self._clock, self._ran_ahead = clock, ran_ahead

    @classmethod
    def create(
        cls,
        where: Path | str,
        master: MasterKey,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Create an empty ledger and open it.

        Args:
            where: A folder, or the URL of a PostgreSQL database.
            master: The master key.
            clock: The time in Unix seconds.

        Raises:
            LedgerError: There is a ledger already.
        """
        identifier, new = secrets.token_hex(16), Secrets.new()
        with _closed_on_error(Database(where)) as database:
            database.create()
            with database.writing() as connection:
                state = LogState(identifier, 0, 0, 0, new.wrap(master, identifier))
                connection.execute(schema.log.insert().values(**state.row(new)))
            return cls(database, master, clock)

    @classmethod
    def open(
        cls,
        where: Path | str,
        master: MasterKey,
        clock: Callable[[], float] = time.time,
        *,
        ran_ahead: int = 0,
    ) -> Self:
        """Open a ledger.

        Args:
            where: A folder, or the URL of a PostgreSQL database.
            master: The master key.
            clock: The time in Unix seconds.
            ran_ahead: The time up to which the clock is known to have run ahead, in Unix seconds.
                New records carry the last record's time until it has passed.

        Raises:
            LedgerError: There is no ledger, or its schema is another version's.
            LedgerDamaged: It cannot be read.
            LedgerKeyError: The master key belongs to another ledger.
        """
        with _closed_on_error(Database(where)) as database:
            database.check()
            return cls(database, master, clock, ran_ahead)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(
        self,
        type_: str,
        payload: Mapping[str, Any],
        *,
        subject: str | None = None,
        key: str | None = None,
    ) -> Entry:
        """Append a record, durably when it returns.

        Args:
            type_: A key of RECORD_TYPES.
            payload: The fields of the record.
            subject: The name of the person whose data it is about, if any.
            key: An idempotency key; if a record of this type and subject has it already, that
                record's entry is returned. Shredding destroys it with the record.

        Raises:
            LedgerError: The record is not valid, or writing failed; then nothing was written.
            ClockWentBack: The machine's clock is wrong.
        """
        return self.append_all([NewRecord(type_, payload, subject, key)])[0]

    def append_all(self, records: Sequence[NewRecord]) -> list[Entry]:
        """Append records in one transaction, all or none; raise as `append`."""
        for record in records:
            check_payload(record.type, record.payload)
            check_key(record.key)
        with self.database.writing() as connection:
            return self.add(connection, records)

    def add(self, connection: sql.Connection, records: Sequence[NewRecord]) -> list[Entry]:
        """Append records within a transaction of `database.writing`; raise as `append`."""
        state = read_log_state(connection, for_update=True)
        if state.id != self.id:
            raise LedgerError(
                f"{self.database.name} was renewed by another process: start again, with its new key"
            )
        writer = Writer(connection, state, self.keyring, self._time(state))
        writer.find_keys(records)
        entries = [writer.write(record) for record in records]
        new = [entry.leaf_hash for entry in entries if entry.new]
        if new:
            connection.execute(schema.entries.insert(), writer.rows)
            tree_store.grow(connection, state.size, new)
            after = state.grown(len(new), writer.time)
            write_log_state(connection, after, self.keyring.secrets)
        return entries

    def _time(self, state: LogState) -> int:
        now = int(self._clock())
        if now < state.time - _PATIENCE and state.time > self._ran_ahead:
            raise ClockWentBack(
                f"the clock of this machine says {_utc(now)}, but the last record is of "
                f"{_utc(state.time)}: nothing was written; set the clock and retry. If the clock "
                "ran ahead when that record was written, set ledger.clock_ran_ahead in node.toml "
                "to its time: records carry it until it has passed."
            )
        return max(now, state.time)

    def rotate(self, master: MasterKey) -> None:
        """Wrap every key again under new secrets and another master key; no record is rewritten.

        Destroy the old master key afterwards: then every copy of the wrapped keys that was made
        before is useless, wherever it lies.
        """
        rewrapped = self.keyring.secrets.rewrapped()
        with self.database.writing() as connection:
            state = read_log_state(connection, for_update=True)
            self.keyring.rewrap(connection, rewrapped)
            changed = state.changed(rewrapped.wrap(master, state.id))
            write_log_state(connection, changed, rewrapped)
        self.keyring = Keyring(self.id, rewrapped)
        self.database.wipe()
        self.write_seal()

    def write_seal(self) -> None:
        """Write keyed MACs of all bytes of the SQLite file.

        SQLite ignores some bytes; with the MACs `verify` finds a change even there. Does nothing in
        PostgreSQL.
        """
        if self.database.folder is not None:
            Seal(self.database, self.keyring.secrets).write()

    def close(self) -> None:
        """Seal the ledger and close its database."""
        try:
            self.write_seal()
        finally:
            self.database.engine.dispose()

    def verify(self, anchors: Sequence[tuple[int, str]] = ()) -> Report:
        """Recompute everything from the entries and report what does not hold.

        Args:
            anchors: Sizes with their roots, in hexadecimal, from the chain.
        """
        try:
            return check(self.database, self.keyring, anchors)
        except (LedgerDamaged, SQLAlchemyError, OverflowError, ValueError, TypeError) as error:
            what = f"the database cannot be read to its end: {reason(error)}"
            return Report(0, "", (Problem(None, what),))


@contextmanager
def _closed_on_error(database: Database) -> Iterator[Database]:
    try:
        yield database
    except BaseException:
        database.engine.dispose()
        raise


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
