"""The one row that says how large the log is, and which secrets it hangs from."""

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
    """`changes`: writes of any kind so far. `time`: of the last record, Unix seconds. `secrets`: wrapped."""

    id: str
    size: int
    changes: int
    time: int
    secrets: bytes = field(repr=False)
    mac: bytes = field(repr=False, default=b"")

    def grown(self, count: int, time: int) -> LogState:
        return replace(self, size=self.size + count, changes=self.changes + 1, time=time)

    def changed(self, secrets: bytes | None = None) -> LogState:
        return replace(self, changes=self.changes + 1, secrets=secrets or self.secrets)

    def row(self, secrets: Secrets) -> dict[str, Any]:
        told = {"id": self.id, "size": self.size, "changes": self.changes, "time": self.time}
        return {**told, "secrets": self.secrets, "mac": self._mac(secrets)}

    def holds(self, secrets: Secrets) -> bool:
        """Whether it was written by whoever has the secrets."""
        return hmac.compare_digest(self.mac, self._mac(secrets))

    def _mac(self, secrets: Secrets) -> bytes:
        return secrets.mac([self.id, self.size, self.changes, self.time, self.secrets.hex()])


def read_log_state(connection: sql.Connection, *, for_update: bool = False) -> LogState:
    """`for_update`: writers wait for one another. Raises LedgerDamaged."""
    query = sql.select(schema.log)
    rows = connection.execute(query.with_for_update() if for_update else query).all()
    if len(rows) != 1:
        raise LedgerDamaged(f"a ledger has one row in the table log, this one has {len(rows)}")
    it = rows[0]
    return LogState(it.id, it.size, it.changes, it.time, bytes(it.secrets), bytes(it.mac))


def write_log_state(connection: sql.Connection, head: LogState, secrets: Secrets) -> None:
    connection.execute(schema.log.update().values(**head.row(secrets)))
