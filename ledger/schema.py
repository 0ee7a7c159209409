"""The tables of a ledger, the same in SQLite and PostgreSQL.

Alembic (ledger/migrations) creates them.
"""

from __future__ import annotations

import sqlalchemy as sql

REVISION = "0001"
"""The newest migration, which this version of the code reads and writes."""

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")

metadata = sql.MetaData()

log = sql.Table(
    "log",
    metadata,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("size", _BIG, nullable=False),
    sql.Column("changes", _BIG, nullable=False),
    sql.Column("time", _BIG, nullable=False),
    sql.Column("secrets", sql.LargeBinary, nullable=False),
    sql.Column("mac", sql.LargeBinary, nullable=False),
)
"""The state of the log, in one row.

`changes` counts writes of any kind, `time` is the last record's, the master key wraps `secrets`,
and `mac` is over the rest.
"""

keys = sql.Table(
    "keys",
    metadata,
    sql.Column("id", sql.String(32), primary_key=True),
    sql.Column("category", sql.String, nullable=False),
    sql.Column("subject", sql.String(64), nullable=False),
    sql.Column("wrapped", sql.LargeBinary, nullable=False),
    sql.UniqueConstraint("category", "subject", name="one_key_each"),
)
"""One key for each category (record type) and data subject.

`subject` is a keyed hash of the name, or empty for records about no person. Shredding deletes rows.
"""

entries = sql.Table(
    "entries",
    metadata,
    sql.Column("position", _BIG, primary_key=True, autoincrement=False),
    sql.Column("key", sql.String(32), nullable=False, index=True),
    sql.Column("once", sql.String(64), unique=True),
    sql.Column("leaf", sql.LargeBinary, nullable=False),
    sql.Column("wrapped", sql.LargeBinary),
    sql.Column("box", sql.LargeBinary),
)
"""The entries of the log.

`key` is an id in table `keys`, or of a key that was shredded. `once` is the hash of the idempotency
key under that key. Shredding clears `once`, `wrapped` and `box`; the leaf stays.
"""

nodes = sql.Table(
    "nodes",
    metadata,
    sql.Column("level", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("place", _BIG, primary_key=True, autoincrement=False),
    sql.Column("hash", sql.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Hashes of complete, aligned subtrees; level 0 holds the leaves."""
