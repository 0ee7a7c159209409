"""The database of a ledger: a folder with one SQLite file, or PostgreSQL by URL."""

from __future__ import annotations

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
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from tenacity import RetryCallState, retry, retry_if_result, stop_after_delay, wait_fixed

from rescind.core import create_private, make_private_folder
from rescind.core.errors import LedgerError
from rescind.core.redaction import redact, shown_url
from rescind.core.sqlite import is_damaged, is_locked, locked_advice, prepare_sqlite, sqlite_url
from rescind.ledger import schema

FILE, SEAL = "ledger.db", "ledger.seal"
_VACUUM_SECONDS = 30.0
"""How long to wait for other transactions that can still see deleted rows."""
_DAMAGED_STATES = ("XX", "42P01", "42703")
"""SQLSTATEs of PostgreSQL: internal errors such as damaged pages, no such table, no such column."""
_MIGRATIONS = Path(__file__).parent / "migrations"


class LedgerDamaged(LedgerError):
    """The database is not a readable ledger."""

    code = "ledger-damaged"


class Database:
    """A connection pool to the database of one ledger.

    Attributes:
        folder: The folder of the SQLite file; None in PostgreSQL.
        name: The folder, or scheme and host of the URL, for messages.
        engine: The SQLAlchemy engine.
    """

    def __init__(self, where: Path | str) -> None:
        text = str(where)
        self.folder = None if "://" in text else Path(where)
        if self.folder is None:
            url = _postgres(text)
            self.name = shown_url(text)
            self.engine = _postgres_engine(url)
        else:
            self.name = text
            self.engine = _sqlite_engine(self.folder / FILE)

    @property
    def file(self) -> Path:
        """The SQLite file; only for a ledger in a folder."""
        assert self.folder is not None
        return self.folder / FILE

    def exists(self) -> bool:
        """Return whether a ledger is there; raise LedgerError when the database cannot be read."""
        if self.folder is not None:
            return self.file.is_file()
        with self.reading() as connection:
            return sql.inspect(connection).has_table("alembic_version")

    def create(self) -> None:
        """Create the tables; raise LedgerError when a ledger is there."""
        if self.exists():
            raise LedgerError(f"{self.name} already holds a ledger: choose another place")
        if self.folder is not None:
            make_private_folder(self.folder)
            create_private(self.file).close()
        with self.writing() as connection:
            migrate(connection)

    def drop(self) -> None:
        """Delete a ledger that was just created here, completely."""
        if self.folder is not None:
            self.engine.dispose()
            for path in (
                self.file,
                *(self.file.with_name(f"{FILE}{end}") for end in ("-wal", "-shm")),
            ):
                path.unlink(missing_ok=True)
            (self.folder / SEAL).unlink(missing_ok=True)
            return
        with self.writing() as connection:
            schema.metadata.drop_all(connection)
            connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")

    def check(self) -> None:
        """Check that the ledger has the schema that this version reads and writes.

        Raises:
            LedgerError: There is no ledger, or it has another schema.
            LedgerDamaged: The database cannot be read.
        """
        if not self.exists():
            raise LedgerError(
                f"there is no ledger in {self.name}: create one with rescind ledger init"
            )
        try:
            with self.engine.connect() as connection:
                rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version")
                revision = rows.scalar_one()
        except SQLAlchemyError as error:
            raise self._failure(error, f"{self.name} is not a readable ledger") from error
        if revision != schema.REVISION:
            raise LedgerError(
                f"{self.name} has schema {revision}, but this version of Rescind reads "
                f"{schema.REVISION}: run rescind ledger upgrade, or use the version that made it"
            )

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """Open a connection to read from.

        Raises:
            LedgerError: The database does not answer, or is locked.
            LedgerDamaged: It holds something else than a ledger.
        """
        try:
            with self.engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._failure(error, f"cannot read {self.name}") from error

    def _failure(self, error: SQLAlchemyError, what: str) -> LedgerError:
        """Return the error to raise for a database's error: damaged only if it says so."""
        if is_locked(error):
            return LedgerError(locked_advice(self.name))
        state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
        in_postgres = state.startswith(_DAMAGED_STATES)
        if in_postgres or is_damaged(error) or not isinstance(error, DBAPIError):
            return LedgerDamaged(f"{what}: {reason(error)}")
        return LedgerError(f"{what}: {reason(error)}")

    @contextmanager
    def snapshot(self) -> Iterator[sql.Connection]:
        """Open a connection to read from that does not see what others write meanwhile."""
        with self.reading() as connection:
            if self.folder is None:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sql.Connection]:
        """Open one transaction, which is durable when the block is left.

        Raises:
            LedgerError: Writing failed; then nothing was written.
        """
        try:
            with self.engine.execution_options(writes=True).begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            if is_locked(error):
                raise LedgerError(locked_advice(self.name)) from error
            raise LedgerError(f"cannot write to {self.name}: {reason(error)}") from error

    def fold(self) -> bool:
        """Fold SQLite's write-ahead log into its file.

        Returns:
            False when a reader prevents it.

        Raises:
            LedgerError: The file cannot be written.
        """
        raw = self.engine.raw_connection()
        try:
            busy, _, _ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise LedgerError(f"cannot write to {self.name}: {error}") from error
        finally:
            raw.close()
        return not busy

    def wipe(self) -> None:
        """Remove deleted data from the database's own files.

        SQLite overwrites deleted rows (secure_delete), but the write-ahead log may still hold them.
        PostgreSQL keeps dead rows until the table is rewritten.

        Raises:
            LedgerError: Deleted data may still be readable; the message says what to do.
        """
        if self.folder is not None:
            if not self.fold():
                raise LedgerError(
                    f"shredded data may still be readable in {self.file}-wal, which another "
                    "process holds open: stop that process and shred again"
                )
            return
        try:
            options = {"isolation_level": "AUTOCOMMIT"}
            with self.engine.connect().execution_options(**options) as connection:
                for table in ("keys", "entries", "log"):
                    _vacuum(connection, table)
        except SQLAlchemyError as error:
            raise LedgerError(f"shredded data may still be readable: {reason(error)}") from error


def _vacuum(connection: sql.Connection, table: str) -> None:
    """Rewrite a table without its dead rows.

    PostgreSQL keeps those that another transaction of the database may still see, and reports how
    many. Then the rewrite is repeated for a while.
    """
    notices: list[str] = []
    driver: Any = connection.connection.driver_connection
    driver.add_notice_handler(lambda notice: notices.append(notice.message_detail or ""))

    def dead_rows() -> int:
        notices.clear()
        connection.exec_driver_sql(f"VACUUM (FULL, VERBOSE) {table}")
        numbers = [re.search(r"\d+", detail) for detail in notices]
        return max((int(number.group()) for number in numbers if number), default=0)

    retry(
        retry=retry_if_result(bool),
        stop=stop_after_delay(_VACUUM_SECONDS),
        wait=wait_fixed(0.2),
        retry_error_callback=_raise_still_visible,
    )(dead_rows)()


def _raise_still_visible(state: RetryCallState) -> int:
    raise LedgerError(
        "shredded data is still in the database's files, because another transaction has been "
        f"able to see it for {state.seconds_since_start:.0f} s. End that transaction "
        "(pg_stat_activity lists it) and shred again"
    )


def migrate(connection: sql.Connection) -> None:
    """Migrate to the newest schema."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def reason(error: BaseException) -> str:
    """Return the first line of a database error, without the statement and its values."""
    return redact(str(getattr(error, "orig", None) or error).splitlines()[0])


def _postgres(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise LedgerError(
            "the ledger's URL cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise LedgerError(
            f"a ledger cannot be stored in {url.drivername}: pass a folder, or the URL of a "
            "PostgreSQL database"
        )
    return url.set(drivername="postgresql+psycopg")


def _postgres_engine(url: URL) -> sql.Engine:
    try:
        return sql.create_engine(
            url,
            # PgBouncer in transaction mode gives each transaction another session, which does not
            # know the statements that psycopg prepared in an earlier one.
            connect_args={"connect_timeout": 10, "prepare_threshold": None},
            pool_pre_ping=True,
            hide_parameters=True,
        )
    except ImportError as error:
        raise LedgerError(
            "a ledger in PostgreSQL needs its driver: run pip install 'rescind[postgres]'"
        ) from error


def _sqlite_engine(path: Path) -> sql.Engine:
    engine = sql.create_engine(sqlite_url(path), poolclass=sql.pool.QueuePool, hide_parameters=True)

    @sql.event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None
        prepare_sqlite(connection, path, LedgerError)

    @sql.event.listens_for(engine, "begin")
    def _on_begin(connection: sql.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        # A writer takes the lock at once: one that first reads may fail to upgrade its lock later.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
