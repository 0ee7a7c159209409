"""The row of table `log`: the size of the log, its clock and its wrapped secrets."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sql

from rescind.ledger import schema
from rescind.ledger.database import LedgerDamaged
from rescind.ledger.keyring import Secrets


@dataclass(frozen=True)
class LogState:
    """The state of a log at one moment.

    Attributes:
        id: The log's id, 32 hexadecimal digits.
        size: The number of entries.
        changes: The number of writes of any kind so far.
        time: The time of the last record, in Unix seconds.
        secrets: The log's secrets, wrapped by the master key.
        mac: A MAC over the rest, under the secrets.
    """

    id: str
    size: int
    changes: int
    time: int
    secrets: bytes = field(repr=False)
    mac: bytes = field(repr=False, default=b"")

    def grown(self, count: int, time: int) -> LogState:
        """Return the state after `count` more entries, the last of them made at `time`."""
        return replace(self, size=self.size + count, changes=self.changes + 1, time=time)

    def changed(self, secrets: bytes | None = None) -> LogState:
        """Return the state after a write that adds no entry, with other secrets if given."""
        return replace(self, changes=self.changes + 1, secrets=secrets or self.secrets)

    def row(self, secrets: Secrets) -> dict[str, Any]:
        """Return the columns of the row, with a fresh MAC."""
        columns = {"id": self.id, "size": self.size, "changes": self.changes, "time": self.time}
        return {**columns, "secrets": self.secrets, "mac": self._mac(secrets)}

    def holds(self, secrets: Secrets) -> bool:
        """Return whether the MAC holds: whether a holder of the secrets wrote the row."""
        return hmac.compare_digest(self.mac, self._mac(secrets))

    def _mac(self, secrets: Secrets) -> bytes:
        return secrets.mac([self.id, self.size, self.changes, self.time, self.secrets.hex()])


def read_log_state(connection: sql.Connection, *, for_update: bool = False) -> LogState:
    """Read the row.

    Args:
        connection: A connection to the ledger's database.
        for_update: Whether to lock the row, so that writers wait for each other.

    Raises:
        LedgerDamaged: The table does not hold exactly one row.
    """
    query = sql.select(schema.log)
    rows = connection.execute(query.with_for_update() if for_update else query).all()
    if len(rows) != 1:
        raise LedgerDamaged(
            f"table log has {len(rows)} rows and must have one: restore the ledger from a backup"
        )
    row = rows[0]
    return LogState(row.id, row.size, row.changes, row.time, bytes(row.secrets), bytes(row.mac))


def write_log_state(connection: sql.Connection, state: LogState, secrets: Secrets) -> None:
    """Replace the row."""
    connection.execute(schema.log.update().values(**state.row(secrets)))
