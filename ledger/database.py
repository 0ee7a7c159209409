"""Where a ledger lies: a folder with one SQLite file, or a PostgreSQL database by URL."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from alembic import command
from alembic.config import Config
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tenacity import RetryCallState, retry, retry_if_result, stop_after_delay, wait_fixed

from rescind.core.errors import LedgerError
from rescind.ledger import schema

FILE, SEAL = "ledger.db", "ledger.seal"
_VACUUM_SECONDS = 30.0
_MIGRATIONS = Path(__file__).parent / "migrations"


class LedgerDamaged(LedgerError):
    code = "ledger-damaged"


class Database:
    """`folder` is None in PostgreSQL."""

    def __init__(self, where: Path | str) -> None:
        text = str(where)
        self.folder = None if "://" in text else Path(where)
        if self.folder is None:
            url = _postgres(text)
            self.name = url.render_as_string(hide_password=True)
            self.engine = _postgres_engine(url)
        else:
            self.name = text
            self.engine = _sqlite_engine(self.folder / FILE)

    @property
    def file(self) -> Path:
        assert self.folder is not None
        return self.folder / FILE

    def exists(self) -> bool:
        """Raises LedgerError when it cannot be told."""
        if self.folder is not None:
            return self.file.is_file()
        with self.reading() as connection:
            return sql.inspect(connection).has_table("alembic_version")

    def create(self) -> None:
        """Raises LedgerError when a ledger is there."""
        if self.exists():
            raise LedgerError(f"{self.name} holds a ledger already")
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.file, os.O_CREAT | os.O_EXCL, 0o600))
        with self.writing() as connection:
            migrate(connection)

    def drop(self) -> None:
        """Leave nothing of a ledger that was just made here."""
        if self.folder is not None:
            self.engine.dispose()
            for path in (
                self.file,
                *(self.file.with_name(f"{FILE}{it}") for it in ("-wal", "-shm")),
            ):
                path.unlink(missing_ok=True)
            (self.folder / SEAL).unlink(missing_ok=True)
            return
        with self.writing() as connection:
            schema.metadata.drop_all(connection)
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")

    def check(self) -> None:
        """Raises LedgerError unless it is a ledger of the schema that this version knows."""
        if not self.exists():
            raise LedgerError(f"no ledger in {self.name}: create one with rescind ledger init")
        try:
            with self.engine.connect() as connection:
                found = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                revision = found.scalar_one()
        except SQLAlchemyError as error:
            raise LedgerDamaged(f"{self.name} is not a readable ledger: {reason(error)}") from error
        if revision != schema.REVISION:
            raise LedgerError(
                f"{self.name} has schema {revision}, this version of Rescind knows {schema.REVISION}: "
                "run rescind ledger upgrade, or use the newer version that made it"
            )

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise LedgerDamaged(f"cannot read {self.name}: {reason(error)}") from error

    @contextmanager
    def snapshot(self) -> Iterator[sql.Connection]:
        """Reading, and what others write meanwhile is not seen."""
        with self.reading() as connection:
            if self.folder is None:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """One transaction, durable when the block is left. Raises LedgerError; then nothing was written."""
        try:
            with self.engine.execution_options(writes=True).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise LedgerError(f"cannot write to {self.name}: {reason(error)}") from error

    def fold(self) -> bool:
        """Fold SQLite's write-ahead log into its file; False when a reader is in the way. Raises
        LedgerError."""
        raw = self.engine.raw_connection()
        try:
            busy, _, _ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise LedgerError(f"cannot write to {self.name}: {error}") from error
        finally:
            raw.close()
        return not busy

    def wipe(self) -> None:
        """What was deleted is gone from the database's own files. Raises LedgerError."""
        if self.folder is not None:
            if not self.fold():
                raise LedgerError(
                    f"what was shredded may still be read in {self.file}-wal, which another process "
                    "holds open: stop it, and shred again"
                )
            return
        try:
            options = {"isolation_level": "AUTOCOMMIT"}
            with self.engine.connect().execution_options(**options) as connection:
                for table in ("keys", "entries"):
                    _vacuum(connection, table)
        except SQLAlchemyError as error:
            raise LedgerError(f"what was shredded may still be read: {reason(error)}") from error


def _vacuum(connection: sql.Connection, table: str) -> None:
    """Rewrite a table without its dead rows. PostgreSQL keeps those that another transaction of the
    database may still see, and says how many: then it is tried again for a while."""
    said: list[str] = []
    driver: Any = connection.connection.driver_connection
    driver.add_notice_handler(lambda it: said.append(it.message_detail or ""))

    def left() -> int:
        said.clear()
        connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
        numbers = [re.search(r"\d+", detail) for detail in said]
        return max((int(it.group()) for it in numbers if it), default=0)

    retry(
        retry=retry_if_result(bool),
        stop=stop_after_delay(_VACUUM_SECONDS),
        wait=wait_fixed(0.2),
        retry_error_callback=_still_seen,
    )(left)()


def _still_seen(state: RetryCallState) -> int:
    raise LedgerError(
        f"what was shredded is still in the database's files: another transaction has seen it for "
        f"{state.seconds_since_start:.0f} s. End it (pg_stat_activity shows which), and shred again"
    )


def migrate(connection: sql.Connection) -> None:
    """To the newest schema."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def reason(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _postgres(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise LedgerError(f"not a database URL: {error}") from error
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise LedgerError(
            f"{url.drivername}:// is not a ledger: give a folder, or postgresql://..."
        )
    return url.set(drivername="postgresql+psycopg")


def _postgres_engine(url: URL) -> sql.Engine:
    try:
        return sql.create_engine(url, connect_args={"connect_timeout": 10}, pool_pre_ping=True)
    except ImportError as error:
        raise LedgerError("a ledger in PostgreSQL needs pip install 'rescind[postgres]'") from error


def _sqlite_engine(path: Path) -> sql.Engine:
    engine = sql.create_engine(f"sqlite:///{path}", poolclass=sql.pool.QueuePool)

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "secure_delete=ON",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
