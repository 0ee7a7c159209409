"""Recomputing a ledger from its entries, in pieces, and comparing everything with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sql

from rescind.ledger import merkle, schema
from rescind.ledger.database import Database
from rescind.ledger.file_macs import Seal
from rescind.ledger.keyring import Keyring, SubjectKey
from rescind.ledger.log_state import LogState, read_log_state
from rescind.ledger.records import (
    Record,
    RecordUnreadable,
    open_committed,
    shredded_record,
)

_PIECE = 2**12
"""Entries that are looked at together; a power of two, so that their subtree is one node."""

_entries, _keys, _nodes = schema.entries, schema.keys, schema.nodes


@dataclass(frozen=True)
class Problem:
    """`index` is the entry, or None when it is the log as a whole. `since`: the last anchor or checkpoint
    before it that still agrees, as a size."""

    index: int | None
    what: str
    since: int | None = None


@dataclass(frozen=True)
class Report:
    size: int
    root: str
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        return not self.problems


@dataclass
class _Found:
    """What is kept while the entries go by."""

    keys: dict[str, SubjectKey] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    gone: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    buried: set[str] = field(default_factory=set)
    time: int = 0
    lost: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)


def check(database: Database, keyring: Keyring, anchors: Sequence[tuple[int, str]]) -> Report:
    """`anchors`: sizes with the roots that they had, hexadecimal. Memory does not grow with the log."""
    problems: list[Problem] = []
    found, frontier = _Found(), merkle.Frontier()
    sizes = {size for size, _ in anchors}
    found.roots[0] = merkle.EMPTY_ROOT
    with database.snapshot() as connection:
        problems += _check_file(database, connection, keyring)
        head = read_log_state(connection)
        problems += _check_head(head, keyring)
        problems += _open_keys(connection, keyring, found)
        for rows in _pieces(connection):
            problems += _check_piece(connection, keyring, found, frontier, rows, sizes)
        if frontier.size != head.size:
            what = f"table log says {head.size} entries, {frontier.size} are there"
            problems.append(Problem(None, what))
        problems += _check_upper(connection, frontier.size)
    for key, places in found.gone.items():
        if key not in found.buried:
            what = f"its key is gone, and no tombstone says so ({len(places)} records under it)"
            problems.append(Problem(places[0], what))
    agreed = [size for size, root in anchors if found.roots.get(size, b"").hex() == root]
    for size, expected in anchors:
        problems += _check_anchor(size, expected, found, frontier.size, agreed)
    return Report(frontier.size, frontier.root().hex(), tuple(problems))


def _check_file(
    database: Database, connection: sql.Connection, keyring: Keyring
) -> Iterator[Problem]:
    if database.folder is None:
        return
    for line in connection.exec_driver_sql("PRAGMA integrity_check").scalars().all():
        if line != "ok":
            yield Problem(None, f"SQLite: {line}")
    for line in Seal(database, keyring.secrets).check():
        yield Problem(None, line)


def _check_head(head: LogState, keyring: Keyring) -> Iterator[Problem]:
    if not head.holds(keyring.secrets):
        yield Problem(None, "the row of table log was changed by somebody without the ledger's key")


def _open_keys(connection: sql.Connection, keyring: Keyring, found: _Found) -> Iterator[Problem]:
    for row in connection.execute(sql.select(_keys)):
        found.categories[row.id] = row.category
        try:
            found.keys[row.id] = keyring.open(row)
        except RecordUnreadable as error:
            yield Problem(None, str(error))


def _pieces(connection: sql.Connection) -> Iterator[Sequence[sql.Row[Any]]]:
    """Rows by ascending position; all of a piece but the last one has _PIECE of them."""
    after = -1
    while True:
        rows = connection.execute(
            sql.select(_entries)
            .where(_entries.c.position > after)
            .order_by(_entries.c.position)
            .limit(_PIECE)
        ).all()
        if rows:
            yield rows
        if len(rows) < _PIECE:
            return
        after = rows[-1].position


def _check_piece(
    connection: sql.Connection,
    keyring: Keyring,
    found: _Found,
    frontier: merkle.Frontier,
    rows: Sequence[sql.Row[Any]],
    sizes: set[int],
) -> Iterator[Problem]:
    first, expected = frontier.size, dict[tuple[int, int], bytes]()
    for row in rows:
        place = frontier.size
        if row.position != place + found.lost:
            lacking = place + found.lost
            yield Problem(
                lacking, f"entry {lacking} is missing, {row.position} stands in its place"
            )
            found.lost = row.position - place
        yield from _check_entry(row.position, row, keyring, found)
        for level, at, digest in frontier.add(merkle.leaf_hash(bytes(row.leaf))):
            expected[level, at] = digest
        if frontier.size in sizes:
            found.roots[frontier.size] = frontier.root()
    yield from _check_nodes(connection, expected, first, frontier.size)


def _check_entry(
    place: int, row: sql.Row[Any], keyring: Keyring, found: _Found
) -> Iterator[Problem]:
    key = found.keys.get(row.key)
    try:
        head = shredded_record(place, bytes(row.leaf))
        if head.time < found.time:
            yield Problem(place, "it is dated before the entry in front of it")
        found.time = max(found.time, head.time)
        if key is None:
            if row.key not in found.categories:
                found.gone[row.key].append(place)
                if row.box is not None or row.wrapped is not None:
                    yield Problem(place, "its key is gone and its ciphertext is not")
            return
        if found.categories[row.key] != head.type:
            yield Problem(place, f"a {head.type} under a key for {found.categories[row.key]}")
        record, _ = open_committed(place, bytes(row.leaf), keyring.unlock(key, row))
    except (RecordUnreadable, TypeError) as error:
        yield Problem(place, str(error))
        return
    if record.type == "tombstone":
        found.buried |= _names(record)


def _names(record: Record) -> set[str]:
    return {it for it in record.payload.get("keys", []) if isinstance(it, str)}


def _check_nodes(
    connection: sql.Connection, expected: dict[tuple[int, int], bytes], first: int, last: int
) -> Iterator[Problem]:
    """The nodes that the entries from `first` up to `last` complete."""
    stored = dict[tuple[int, int], bytes]()
    for level in range((last + 1).bit_length()):
        query = sql.select(_nodes).where(
            _nodes.c.level == level,
            _nodes.c.place >= first >> level,
            _nodes.c.place < last >> level,
        )
        stored |= {(it.level, it.place): bytes(it.hash) for it in connection.execute(query)}
    for level, place in sorted(set(expected) | set(stored)):
        here = place << level
        if (level, place) not in stored:
            yield Problem(here, f"tree node {level}/{place} is missing")
        elif stored[level, place] != expected.get((level, place)):
            yield Problem(here, f"tree node {level}/{place} is not its entries'")


def _check_upper(connection: sql.Connection, size: int) -> Iterator[Problem]:
    """Nodes that no entries complete."""
    levels = connection.execute(
        sql.select(
            _nodes.c.level, sql.func.max(_nodes.c.place), sql.func.min(_nodes.c.place)
        ).group_by(_nodes.c.level)
    )
    for level, largest, smallest in levels:
        if smallest < 0 or largest >= size >> level:
            yield Problem(None, f"tree node {level}/{largest} belongs to no entries")


def _check_anchor(
    size: int, expected: str, found: _Found, known: int, agreed: Sequence[int]
) -> Iterator[Problem]:
    since = max((it for it in agreed if it < size), default=None)
    if size > known:
        yield Problem(None, f"the chain anchors {size} entries, the ledger has {known}", since)
    elif found.roots[size].hex() != expected:
        yield Problem(None, f"the first {size} entries are not those anchored", since)
