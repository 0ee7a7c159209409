"""What a daemon must not forget: durable facts by key, in one SQLite file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import SQLAlchemyError

from rescind.core.errors import StoreError

_metadata = sql.MetaData()
_facts = sql.Table(
    "facts",
    _metadata,
    sql.Column("key", sql.String, primary_key=True),
    sql.Column("value", sql.String, nullable=False),
)


class Journal:
    """Values are JSON. A fact is on the disk when `set` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._engine = sql.create_engine(f"sqlite:///{path}", poolclass=sql.pool.NullPool)
        sql.event.listen(self._engine, "connect", _pragmas)
        try:
            _metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise StoreError(f"{path} is not a readable daemon state: {error}") from error

    def get(self, key: str, default: Any = None) -> Any:
        with self._engine.connect() as connection:
            found = connection.execute(
                sql.select(_facts.c.value).where(_facts.c.key == key)
            ).scalar_one_or_none()
        return default if found is None else json.loads(found)

    def set(self, key: str, value: Any) -> None:
        """Raises StoreError when it cannot be written (a full disk, say)."""
        text = json.dumps(value)
        statement = insert(_facts).values(key=key, value=text)
        statement = statement.on_conflict_do_update(index_elements=["key"], set_={"value": text})
        try:
            with self._engine.begin() as connection:
                connection.execute(statement)
        except SQLAlchemyError as error:
            raise StoreError(f"cannot write {self._path}: {error}") from error

    def all(self, prefix: str) -> dict[str, Any]:
        """Facts whose key starts with `prefix`, in the order of their keys."""
        query = sql.select(_facts).where(_facts.c.key.startswith(prefix, autoescape=True))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_facts.c.key)).all()
        return {row.key: json.loads(row.value) for row in rows}

    def add(self, prefix: str, value: Any) -> None:
        """Append under the next free number."""
        self.set(f"{prefix}{len(self.all(prefix)):06d}", value)


def _pragmas(connection: Any, _: object) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=10000",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
