"""The first schema."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None

_BIG = sql.BigInteger().with_variant(sql.Integer, "sqlite")

_SECRET = {
    "log": ("secrets", "mac"),
    "keys": ("subject", "wrapped"),
    "entries": ("once", "leaf", "wrapped", "box"),
}


def upgrade() -> None:
    op.create_table(
        "log",
        sql.Column("id", sql.String(32), primary_key=True),
        sql.Column("size", _BIG, nullable=False),
        sql.Column("changes", _BIG, nullable=False),
        sql.Column("time", _BIG, nullable=False),
        sql.Column("secrets", sql.LargeBinary, nullable=False),
        sql.Column("mac", sql.LargeBinary, nullable=False),
    )
    op.create_table(
        "keys",
        sql.Column("id", sql.String(32), primary_key=True),
        sql.Column("category", sql.String, nullable=False),
        sql.Column("subject", sql.String(64), nullable=False),
        sql.Column("wrapped", sql.LargeBinary, nullable=False),
        sql.UniqueConstraint("category", "subject", name="one_key_each"),
    )
    op.create_table(
        "entries",
        sql.Column("position", _BIG, primary_key=True, autoincrement=False),
        sql.Column("key", sql.String(32), nullable=False, index=True),
        sql.Column("once", sql.String(64), unique=True),
        sql.Column("leaf", sql.LargeBinary, nullable=False),
        sql.Column("wrapped", sql.LargeBinary),
        sql.Column("box", sql.LargeBinary),
    )
    op.create_table(
        "nodes",
        sql.Column("level", sql.Integer, primary_key=True, autoincrement=False),
        sql.Column("place", _BIG, primary_key=True, autoincrement=False),
        sql.Column("hash", sql.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        # ANALYZE would copy samples of what is to be shredded one day into pg_statistic.
        for table, columns in _SECRET.items():
            for column in columns:
                op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
