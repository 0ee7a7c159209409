"""Check of a ledger: recompute everything from its entries, in pieces, and compare."""

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
"""Entries that are checked together; a power of two, so that their subtree is one node."""

_entries, _keys, _nodes = schema.entries, schema.keys, schema.nodes


@dataclass(frozen=True)
class Problem:
    """Something that does not hold in a ledger.

    Attributes:
        index: The entry, or None for the log as a whole.
        what: What does not hold.
        since: The size at the last anchor or checkpoint before it that still agrees, if any.
    """

    index: int | None
    what: str
    since: int | None = None


@dataclass(frozen=True)
class Report:
    """The result of a check.

    Attributes:
        size: The number of entries that are there.
        root: Their root, in hexadecimal.
        problems: What does not hold.
    """

    size: int
    root: str
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """Return whether there is no problem."""
        return not self.problems


@dataclass
class _Seen:
    """State that the check keeps while it reads the entries.

    Attributes:
        keys: Subject keys by id.
        categories: Their categories by id, also of keys that cannot be unwrapped.
        shredded: Indices of entries by the id of their missing key.
        buried: Ids of keys that a tombstone names.
        time: The latest time so far, in Unix seconds.
        lost: The number of missing entries so far.
        roots: Roots at the anchored sizes.
    """

    keys: dict[str, SubjectKey] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    shredded: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    buried: set[str] = field(default_factory=set)
    time: int = 0
    lost: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)


def check(database: Database, keyring: Keyring, anchors: Sequence[tuple[int, str]]) -> Report:
    """Recompute a ledger and compare it with what is stored and anchored.

    Memory does not grow with the log, except for its keys.

    Args:
        database: The ledger's database.
        keyring: Its keys.
        anchors: Sizes with the roots that they had, in hexadecimal.
    """
    problems: list[Problem] = []
    seen, frontier = _Seen(), merkle.Frontier()
    sizes = {size for size, _ in anchors}
    seen.roots[0] = merkle.EMPTY_ROOT
    with database.snapshot() as connection:
        problems += _check_file(database, connection, keyring)
        state = read_log_state(connection)
        problems += _check_state(state, keyring)
        problems += _open_keys(connection, keyring, seen)
        for rows in _pieces(connection):
            problems += _check_piece(connection, keyring, seen, frontier, rows, sizes)
        if frontier.size != state.size:
            what = f"table log says {state.size} entries, but {frontier.size} are there"
            problems.append(Problem(None, what))
        problems += _check_upper(connection, frontier.size)
    for key, indices in seen.shredded.items():
        if key not in seen.buried:
            what = f"its key is missing and no tombstone names it ({len(indices)} records under it)"
            problems.append(Problem(indices[0], what))
    agreed = [size for size, root in anchors if seen.roots.get(size, b"").hex() == root]
    for size, expected in anchors:
        problems += _check_anchor(size, expected, seen, frontier.size, agreed)
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


def _check_state(state: LogState, keyring: Keyring) -> Iterator[Problem]:
    if not state.holds(keyring.secrets):
        yield Problem(None, "the row of table log was changed without the ledger's key")


def _open_keys(connection: sql.Connection, keyring: Keyring, seen: _Seen) -> Iterator[Problem]:
    for row in connection.execute(sql.select(_keys)):
        seen.categories[row.id] = row.category
        try:
            seen.keys[row.id] = keyring.open(row)
        except RecordUnreadable as error:
            yield Problem(None, str(error))


def _pieces(connection: sql.Connection) -> Iterator[Sequence[sql.Row[Any]]]:
    """Yield rows by ascending position; every piece but the last has _PIECE of them."""
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
    seen: _Seen,
    frontier: merkle.Frontier,
    rows: Sequence[sql.Row[Any]],
    sizes: set[int],
) -> Iterator[Problem]:
    first, expected = frontier.size, dict[tuple[int, int], bytes]()
    for row in rows:
        index = frontier.size
        if row.position != index + seen.lost:
            missing = index + seen.lost
            yield Problem(missing, f"entry {missing} is missing; the next entry is {row.position}")
            seen.lost = row.position - index
        yield from _check_entry(row.position, row, keyring, seen)
        for level, index_in_level, subtree_hash in frontier.add(merkle.leaf_hash(bytes(row.leaf))):
            expected[level, index_in_level] = subtree_hash
        if frontier.size in sizes:
            seen.roots[frontier.size] = frontier.root()
    yield from _check_nodes(connection, expected, first, frontier.size)


def _check_entry(index: int, row: sql.Row[Any], keyring: Keyring, seen: _Seen) -> Iterator[Problem]:
    key = seen.keys.get(row.key)
    try:
        header = shredded_record(index, bytes(row.leaf))
        if header.time < seen.time:
            yield Problem(index, "its time is before that of the previous entry")
        seen.time = max(seen.time, header.time)
        if key is None:
            if row.key not in seen.categories:
                seen.shredded[row.key].append(index)
                if row.box is not None or row.wrapped is not None:
                    yield Problem(index, "its key was destroyed, but its ciphertext is still there")
            return
        if seen.categories[row.key] != header.type:
            yield Problem(
                index, f"a {header.type} record is under a key for {seen.categories[row.key]}"
            )
        record, _ = open_committed(index, bytes(row.leaf), keyring.decrypt_record(key, row))
    except (RecordUnreadable, TypeError) as error:
        yield Problem(index, str(error))
        return
    if record.type == "tombstone":
        seen.buried |= _names(record)


def _names(record: Record) -> set[str]:
    return {key for key in record.payload.get("keys", []) if isinstance(key, str)}


def _check_nodes(
    connection: sql.Connection, expected: dict[tuple[int, int], bytes], first: int, last: int
) -> Iterator[Problem]:
    """Compare the nodes that the entries from `first` up to `last` complete."""
    stored = dict[tuple[int, int], bytes]()
    for level in range((last + 1).bit_length()):
        query = sql.select(_nodes).where(
            _nodes.c.level == level,
            _nodes.c.place >= first >> level,
            _nodes.c.place < last >> level,
        )
        stored |= {(row.level, row.place): bytes(row.hash) for row in connection.execute(query)}
    for level, index in sorted(set(expected) | set(stored)):
        first_leaf = index << level
        if (level, index) not in stored:
            yield Problem(first_leaf, f"tree node {level}/{index} is missing")
        elif stored[level, index] != expected.get((level, index)):
            yield Problem(first_leaf, f"tree node {level}/{index} does not match its entries")


def _check_upper(connection: sql.Connection, size: int) -> Iterator[Problem]:
    """Find nodes that no entries complete."""
    levels = connection.execute(
        sql.select(
            _nodes.c.level, sql.func.max(_nodes.c.place), sql.func.min(_nodes.c.place)
        ).group_by(_nodes.c.level)
    )
    for level, largest, smallest in levels:
        if smallest < 0 or largest >= size >> level:
            yield Problem(None, f"tree node {level}/{largest} does not belong to any entries")


def _check_anchor(
    size: int, expected: str, seen: _Seen, ledger_size: int, agreed: Sequence[int]
) -> Iterator[Problem]:
    since = max((earlier for earlier in agreed if earlier < size), default=None)
    if size > ledger_size:
        yield Problem(
            None, f"the chain anchors {size} entries, but the ledger has {ledger_size}", since
        )
    elif seen.roots[size].hex() != expected:
        yield Problem(None, f"the first {size} entries are not the anchored ones", since)
