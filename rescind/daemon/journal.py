"""The journal of a daemon: durable facts by key, in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from rescind.core import ensure_private, make_private_folder
from rescind.core.errors import StoreError
from rescind.core.sqlite import is_damaged, is_locked, locked_advice, prepare_sqlite, sqlite_url

_FORMAT_KEY = "journal-format"

_metadata = sql.MetaData()
_facts = sql.Table(
    "facts",
    _metadata,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("value", sql.String, nullable=False),
)


class Journal:
    """A durable map from keys to JSON values. A fact is on the disk when `set` returns.

    Args:
        path: The SQLite file. It and its folder are created if they are not there.
        journal_format: Name and version of the facts. A new journal stores it; a journal that has
            another one, or facts and none, is refused. By default the format is not checked.

    Raises:
        StoreError: The file is not a journal, or is a journal of another format.
    """

    def __init__(self, path: Path, *, journal_format: str | None = None) -> None:
        make_private_folder(path.parent)
        # SQLite gives the files beside this one (-wal, -shm) the mode of this one.
        ensure_private(path)
        self._path = path
        self._engine = sql.create_engine(
            sqlite_url(path), poolclass=sql.pool.NullPool, hide_parameters=True
        )
        sql.event.listen(
            self._engine, "connect", lambda raw, _: prepare_sqlite(raw, path, StoreError)
        )
        with self._translated("open"):
            _metadata.create_all(self._engine)
        if journal_format is not None:
            self._check_format(journal_format)

    def _check_format(self, expected: str) -> None:
        if not self.all(""):
            self.set(_FORMAT_KEY, expected)
        stored = self.get(_FORMAT_KEY)
        if stored != expected:
            raise StoreError(
                f"{self._path} has journal format {stored or 'unknown'}, this version of rescind "
                f"reads only {expected}. Run the version of rescind that wrote it."
            )

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` if the journal does not have it."""
        with self.reading() as connection:
            text = connection.execute(
                sql.select(_facts.c.value).where(_facts.c.key == key)
            ).scalar_one_or_none()
        return default if text is None else self._value(key, text)

    def _value(self, key: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{self._path} is damaged: the fact {key!r} is not JSON. Restore it from a backup."
            ) from error

    def set(self, key: str, value: Any) -> None:
        """Write a value to the disk, in place of an earlier one.

        Raises:
            StoreError: The value cannot be written, for example because the disk is full.
        """
        text = json.dumps(value)
        statement = insert(_facts).values(key=key, value=text)
        statement = statement.on_conflict_do_update(index_elements=["key"], set_={"value": text})
        with self.writing() as connection:
            connection.execute(statement)

    def delete(self, key: str) -> None:
        """Delete a key and its value, if the journal has it.

        Raises:
            StoreError: The journal cannot be written.
        """
        with self.writing() as connection:
            connection.execute(sql.delete(_facts).where(_facts.c.key == key))

    def all(self, prefix: str) -> dict[str, Any]:
        """Return the values of all keys that start with `prefix`, in the order of the keys."""
        query = sql.select(_facts).where(_facts.c.key.startswith(prefix, autoescape=True))
        with self.reading() as connection:
            rows = connection.execute(query.order_by(_facts.c.key)).all()
        return {row.key: self._value(row.key, row.value) for row in rows}

    def create_tables(self, metadata: sql.MetaData) -> None:
        """Create tables of a daemon's own in the journal's file, if they are not there.

        Raises:
            StoreError: They cannot be created.
        """
        with self.writing() as connection:
            for table in metadata.sorted_tables:
                # `create_all` looks first and creates then, and fails if another process was faster.
                connection.execute(sql.schema.CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(sql.schema.CreateIndex(index, if_not_exists=True))

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """Open a connection for queries of a daemon's own tables.

        Raises:
            StoreError: A query failed.
        """
        with self._translated("read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Open a transaction on a daemon's own tables; it is on the disk when the block ends.

        Begin with a statement that writes: it takes the file's lock, and nothing that the block
        reads afterwards changes below it.

        Raises:
            StoreError: It cannot be written, for example because the disk is full.
        """
        with self._translated("write"), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """Raise StoreError for the database's errors in the block."""
        try:
            yield
        except SQLAlchemyError as error:
            if is_locked(error):
                raise StoreError(locked_advice(self._path)) from None
            if is_damaged(error):
                raise StoreError(
                    f"{self._path} is not a readable daemon state: {_reason(error)}. Restore it from "
                    "a backup."
                ) from None
            raise StoreError(f"cannot {verb} {self._path}: {_reason(error)}") from None


def open_journal(state_dir: Path, daemon: str, version: int) -> Journal:
    """Open the journal of a daemon, `<daemon>.db`; create it if it is not there.

    A journal of another format is refused, not migrated: a daemon that reads only half of its
    facts would repeat steps that are already on chain.

    Args:
        state_dir: The daemon's folder of durable state.
        daemon: "node" or "aggregator".
        version: The version of the daemon's facts. It changes whenever a fact's key or fields do.

    Raises:
        StoreError: The file is not a journal, or is a journal of another format.
    """
    return Journal(state_dir / f"{daemon}.db", journal_format=f"rescind.{daemon}-journal/{version}")


def _reason(error: SQLAlchemyError) -> str:
    """Return why SQLite refused, without the statement and the fact that was to be written."""
    return str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
