"""The stored Merkle tree: one hash for every complete, aligned subtree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sql

from rescind.ledger import merkle, schema
from rescind.ledger.database import LedgerDamaged

_nodes = schema.nodes


def stored_subtrees(connection: sql.Connection) -> merkle.Subtree:
    """Return the function that reads subtree hashes from the database.

    It raises LedgerDamaged when a node is missing.
    """

    def subtree(level: int, index: int) -> bytes:
        stored = connection.execute(
            sql.select(_nodes.c.hash).where(_nodes.c.level == level, _nodes.c.place == index)
        ).scalar_one_or_none()
        if stored is None:
            raise LedgerDamaged(f"tree node {level}/{index} is missing: run rescind ledger fsck")
        return bytes(stored)

    return subtree


def grow(connection: sql.Connection, size: int, leaves: Sequence[bytes]) -> None:
    """Add leaf hashes to the stored tree.

    Args:
        connection: A connection within a writing transaction.
        size: The number of leaves so far.
        leaves: The hashes to add.

    Raises:
        LedgerDamaged: A node at the tree's edge is missing.
    """
    frontier = merkle.Frontier(size)
    wanted = list(frontier.wanted())
    if wanted:
        where = sql.tuple_(_nodes.c.level, _nodes.c.place).in_(wanted)
        for row in connection.execute(sql.select(_nodes).where(where)):
            frontier.peaks[row.level] = bytes(row.hash)
    if len(frontier.peaks) < len(wanted):
        raise LedgerDamaged("nodes at the edge of the tree are missing: run rescind ledger fsck")
    rows: list[dict[str, Any]] = []
    for leaf in leaves:
        rows += [
            {"level": level, "place": index, "hash": node_hash}
            for level, index, node_hash in frontier.add(leaf)
        ]
    connection.execute(_nodes.insert(), rows)
