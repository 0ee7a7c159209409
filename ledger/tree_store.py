"""The Merkle tree as it is stored: a hash for every complete, aligned subtree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sql

from rescind.ledger import merkle, schema
from rescind.ledger.database import LedgerDamaged

_nodes = schema.nodes


def stored(connection: sql.Connection) -> merkle.Subtree:
    def subtree(level: int, place: int) -> bytes:
        found = connection.execute(
            sql.select(_nodes.c.hash).where(_nodes.c.level == level, _nodes.c.place == place)
        ).scalar_one_or_none()
        if found is None:
            raise LedgerDamaged(f"the tree lacks node {level}/{place}: run rescind ledger fsck")
        return bytes(found)

    return subtree


def grow(connection: sql.Connection, size: int, leaves: Sequence[bytes]) -> None:
    """Add leaf hashes to a tree of `size`."""
    frontier = merkle.Frontier(size)
    wanted = list(frontier.wanted())
    if wanted:
        where = sql.tuple_(_nodes.c.level, _nodes.c.place).in_(wanted)
        for row in connection.execute(sql.select(_nodes).where(where)):
            frontier.peaks[row.level] = bytes(row.hash)
    if len(frontier.peaks) < len(wanted):
        raise LedgerDamaged("the tree lacks nodes at its edge: run rescind ledger fsck")
    rows: list[dict[str, Any]] = []
    for leaf in leaves:
        rows += [{"level": lv, "place": pl, "hash": it} for lv, pl, it in frontier.add(leaf)]
    connection.execute(_nodes.insert(), rows)
