"""An index of all events of a consortium's contracts, which follows the chain.

Questions are answered from the index: each block is asked for once, for all contracts together
(`event_reading` says how). What was read is kept with the number and hash of its last block, so that
a first synchronization that was interrupted goes on.

Before each use, the newest block that was read is compared with the chain. If a reorganization
dropped that block, the index goes back to the last block that is still on the chain, deletes what
came after, and reads on from there. A head that goes back deletes nothing: answers end at the block
that was asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rescind.contracts.blocks import Header
from rescind.contracts.chain import Chain
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import ChainUnavailable
from rescind.contracts.event_reading import AT_ONCE, ChainMoved, EventReader
from rescind.contracts.event_store import EventStore, Overtaken, Point
from rescind.contracts.log_filter import LogFilter, Topics
from rescind.contracts.rpc import Log

_ATTEMPTS = 8
"""How often the chain may change while it is read before that is reported."""
_PATIENCE_BLOCKS = 256
"""New blocks after which all events may be read again for an event that is missed."""


class EventIndex:
    """The events of one consortium's contracts. Several threads may use one index.

    Args:
        chain: The chain.
        deployment: The contracts, and the block from which their events are read.
        path: The SQLite file; None keeps the index in memory. Several processes may use one file.
        owned: Whether the file is the caller's alone; see `EventStore`.
        report: Called with one line when the file is damaged, or of another consortium, and is
            begun again. By default a warning is logged.
        at_once: Most requests that are under way at the same time.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        chain: Chain,
        deployment: Deployment,
        path: Path | None = None,
        *,
        owned: bool = False,
        report: Callable[[str], None] | None = None,
        at_once: int = AT_ONCE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chain, self._deployment = chain, deployment
        self._path, self._owned = path, owned
        self._report = report or logging.getLogger("rescind").warning
        addresses = list(deployment.addresses().values())
        self._reader = EventReader(chain, addresses, at_once=at_once, pause=pause)
        self._lock = threading.RLock()
        self._store: EventStore | None = None
        self._read_again_at = -_PATIENCE_BLOCKS
        self._start: Final = Point(deployment.block - 1, "")

    def logs(
        self, addresses: Sequence[str], topics: Topics, first: int, head: Header | int
    ) -> list[Log]:
        """Return the logs of some contracts, in the order of the chain.

        Args:
            addresses: Contracts of the deployment.
            topics: For each place the wanted topic, alternatives, or None for any.
            first: First block.
            head: Last block. With its header, a block that was read is not compared again.

        Raises:
            ChainUnavailable: The chain does not answer, answers wrongly, or keeps changing.
            IndexRefused: The file belongs to another consortium, or is not an index.
            IndexUnusable: The file cannot be used.
        """
        last = head if isinstance(head, int) else head.number
        wanted = LogFilter(addresses, topics, max(first, self._deployment.block), last)
        if last < wanted.first:
            return []
        with self._lock:
            attempts = 0
            while attempts < _ATTEMPTS:
                try:
                    end = self._reader.header(head) if isinstance(head, int) else head
                    return self._answer(wanted, end)
                except Overtaken:
                    continue  # another process read on, or a damaged file was begun again
                except ChainMoved:
                    attempts += 1
        raise ChainUnavailable(
            f"the blocks up to {last} changed {_ATTEMPTS} times while their events were read from "
            f"{self._chain.shown}. Its back ends disagree: set confirmations, or use another "
            "endpoint."
        )

    def read_again(self, last: int) -> bool:
        """Delete what was read, so that the next question reads all of it from the chain.

        This is for a reader that misses an event which the contracts' state implies: a back end that
        lagged further than `event_reading.READ_BY_HASH` blocks may have left events out.

        Args:
            last: The last block that the reader sees.

        Returns:
            Whether it was done; not again before so many new blocks.
        """
        with self._lock:
            if last < self._read_again_at + _PATIENCE_BLOCKS:
                return False
            self._read_again_at = last
            self._opened().drop_after(self._start.number)
            return True

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def _opened(self) -> EventStore:
        if self._store is None:
            identity: dict[str, object] = {
                "chain_id": self._deployment.chain_id,
                "contracts": self._deployment.addresses(),
                "first_block": self._deployment.block,
            }
            if self._path is not None:
                identity["genesis"] = self._chain.block_hash(0)
            self._store = EventStore(self._path, identity, owned=self._owned, report=self._report)
        return self._store

    def _answer(self, wanted: LogFilter, head: Header) -> list[Log]:
        store, end = self._opened(), Point(head.number, head.hash)
        newest = store.newest(head.number)
        if newest == end:
            return store.logs(wanted, end)
        base = self._last_valid(newest, head)
        above = store.next_after(head.number)
        if above is None:
            self._reader.read_on(base, head, self._keep)
            return store.logs(wanted, end)
        header = self._chain.header(above.number)
        if header is None:
            return self._without_the_index(wanted, base, head)
        if header.hash == above.hash:
            return store.logs(wanted, above)
        store.drop_after(base.number)
        raise ChainMoved

    def _without_the_index(self, wanted: LogFilter, base: Point, head: Header) -> list[Log]:
        """Return logs of blocks above `base` from the chain alone.

        The chain lacks a later block that was read: either a back end lags far behind, and then
        nothing may be deleted, or a test chain was taken back, and then what was read is wrong.
        """
        read: list[Log] = []
        self._reader.read_on(base, head, lambda _, __, logs: read.extend(logs))
        below = replace(wanted, last=min(wanted.last, base.number))
        return [*self._opened().logs(below, base), *filter(wanted.accepts, read)]

    def _keep(self, base: Point, point: Point, logs: Sequence[Log]) -> None:
        self._opened().append(base, point, logs)

    # Reorganizations

    def _last_valid(self, newest: Point | None, head: Header) -> Point:
        """Return the newest block below `head` that was read and is on the chain.

        What was read above a block that is not on the chain any more is deleted.
        """
        if newest is None:
            return self._start
        if newest.number == head.number - 1 and newest.hash == head.parent:
            return newest
        if newest.number < head.number and self._is_on_chain(newest):
            return newest
        store, step = self._opened(), 1
        points = store.points_down_from(newest.number)
        while step < len(points) and not self._is_on_chain(points[step]):
            step *= 2
        valid = points[step] if step < len(points) else self._start
        store.drop_after(valid.number)
        return valid

    def _is_on_chain(self, point: Point) -> bool:
        return not point.hash or self._reader.header(point.number).hash == point.hash
