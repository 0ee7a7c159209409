"""Tables of an outbox, and the values in their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rescind.contracts.fees import Fees
from rescind.contracts.outgoing import Call, Outcome, Outgoing, SendState, Version

FORMAT = 1
"""Version of the tables."""
KEPT = 64
"""Reported transactions that are kept, for chains that drop blocks which were final."""

TABLES = """
CREATE TABLE IF NOT EXISTS outgoing (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  chain TEXT NOT NULL, address TEXT NOT NULL, call TEXT NOT NULL, label TEXT NOT NULL,
  recipient TEXT NOT NULL, data BLOB NOT NULL, value TEXT NOT NULL,
  nonce INTEGER NOT NULL, gas INTEGER NOT NULL, state TEXT NOT NULL, reported INTEGER NOT NULL,
  process TEXT NOT NULL, by_daemon INTEGER NOT NULL,
  tx_hash TEXT, block INTEGER, gas_used INTEGER, created TEXT, succeeded INTEGER
);
CREATE UNIQUE INDEX IF NOT EXISTS one_call_for_a_nonce
  ON outgoing (chain, address, nonce) WHERE state != 'dropped';
CREATE INDEX IF NOT EXISTS outgoing_by_call ON outgoing (chain, address, call);
CREATE TABLE IF NOT EXISTS version (
  tx_hash TEXT NOT NULL, outgoing INTEGER NOT NULL, raw BLOB NOT NULL,
  max_fee TEXT NOT NULL, tip TEXT NOT NULL, legacy INTEGER NOT NULL, cancels INTEGER NOT NULL,
  block INTEGER NOT NULL, signed_at REAL NOT NULL, UNIQUE (outgoing, tx_hash)
);
CREATE TABLE IF NOT EXISTS plan (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  chain TEXT NOT NULL, address TEXT NOT NULL, name TEXT NOT NULL,
  nonce INTEGER NOT NULL, closed INTEGER NOT NULL
);
"""

FIELDS = (
    "number, recipient, data, value, label, nonce, gas, state, reported, process, by_daemon, "
    "tx_hash, block, gas_used, created, succeeded"
)


def outgoing_of(row: Any, versions: Sequence[Any]) -> Outgoing:
    """Return a transaction from its row, whose columns are `FIELDS`, and the rows of its versions."""
    outcome = None
    if row[11] is not None:
        outcome = Outcome(row[11], row[12], row[13], row[14], bool(row[15]))
    return Outgoing(
        number=row[0],
        call=Call(row[1], row[2], int(row[3])),
        label=row[4],
        nonce=row[5],
        gas=row[6],
        state=SendState(row[7]),
        reported=bool(row[8]),
        process=row[9],
        by_daemon=bool(row[10]),
        versions=tuple(_version(each) for each in versions),
        outcome=outcome,
    )


def _version(row: Sequence[Any]) -> Version:
    tx_hash, raw, max_fee, tip, legacy, cancels, block, signed_at = row
    fees = Fees(int(max_fee), int(tip), bool(legacy))
    return Version(tx_hash, raw, fees, bool(cancels), block, signed_at)
