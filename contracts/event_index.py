"""An index of all events of a consortium's contracts, which follows the chain.

Questions are answered from the index: each block is asked for once, for all contracts together. How
logs come into the index:

1. Below the newest blocks, logs are read in pages of many blocks. A page that is refused is halved.
   Its last block's hash is read before and after it, the block before it is checked, and so is the
   hash of the block of its last log: then the logs are of the chain on which the last block is.
2. The newest blocks are read one at a time, by hash. A back end that does not have the block refuses
   the question. Asked for a range, a back end that lags would leave out the logs of blocks that it
   does not have, without a word.
3. Each page is kept at once, with the number and hash of its last block, so that a first
   synchronization that was interrupted goes on.

Before each use, the newest block that was read is compared with the chain. If a reorganization
dropped that block, the index goes back to the last block that is still on the chain, deletes what
came after, and reads on from there. A head that goes back deletes nothing: answers end at the block
that was asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rescind.contracts.blocks import Header
from rescind.contracts.chain import Chain
from rescind.contracts.deployment import Deployment
from rescind.contracts.errors import ChainUnavailable
from rescind.contracts.event_store import EventStore, LogFilter, Overtaken, Point, Topics
from rescind.contracts.rpc import Log, NodeRefused

READ_BY_HASH = 16
"""Newest blocks that are read one at a time, by hash: more than back ends usually lag."""
PAGE_BLOCKS = 2_000
"""Blocks of the first page; public providers allow at least so many."""
_MOST_BLOCKS = 128_000
_PAGES_BEFORE_GROWTH = 8
"""Pages to read after a refusal before a larger one is tried."""
_SLOW_PAGE_BLOCKS = 500
"""Smallest page that is tried again at half its size when there was no answer at all."""
_SUSPICIOUS = 500
"""Providers that cut a long answer cut it at a multiple of this many logs."""
_ATTEMPTS = 8
"""How often the chain may change while it is read before that is reported."""
_PATIENCE_BLOCKS = 256
"""New blocks after which all events may be read again for an event that is missed."""
_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for a block that a back end does not have yet, though another one named it."""


class _ChainMoved(Exception):
    """Blocks were replaced while they were read."""


class EventIndex:
    """The events of one consortium's contracts. Several threads may use one index.

    Args:
        chain: The chain.
        deployment: The contracts, and the block from which their events are read.
        path: The SQLite file; None keeps the index in memory. Several processes may use one file.
        owned: Whether the file is the caller's alone; see `EventStore`.
        report: Called with one line when the file is damaged, or of another consortium, and is
            begun again. By default a warning is logged.
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
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chain, self._deployment = chain, deployment
        self._path, self._owned, self._pause = path, owned, pause
        self._report = report or logging.getLogger("rescind").warning
        self._addresses = list(deployment.addresses().values())
        self._lock = threading.RLock()
        self._store: EventStore | None = None
        self._pages = _PageSize()
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
                    end = self._header(head) if isinstance(head, int) else head
                    return self._answer(wanted, end)
                except Overtaken:
                    continue  # another process read on, or a damaged file was begun again
                except _ChainMoved:
                    attempts += 1
        raise ChainUnavailable(
            f"the blocks up to {last} changed {_ATTEMPTS} times while their events were read from "
            f"{self._chain.shown}. Its back ends disagree: set confirmations, or use another "
            "endpoint."
        )

    def read_again(self, last: int) -> bool:
        """Delete what was read, so that the next question reads all of it from the chain.

        This is for a reader that misses an event which the contracts' state implies: a back end that
        lagged further than `READ_BY_HASH` blocks may have left events out.

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
            self._read_on(base, head, self._keep)
            return store.logs(wanted, end)
        header = self._chain.header(above.number)
        if header is None:
            return self._without_the_index(wanted, base, head)
        if header.hash == above.hash:
            return store.logs(wanted, above)
        store.drop_after(base.number)
        raise _ChainMoved

    def _without_the_index(self, wanted: LogFilter, base: Point, head: Header) -> list[Log]:
        """Return logs of blocks above `base` from the chain alone.

        The chain lacks a later block that was read: either a back end lags far behind, and then
        nothing may be deleted, or a test chain was taken back, and then what was read is wrong.
        """
        read: list[Log] = []
        self._read_on(base, head, lambda _, __, logs: read.extend(logs))
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
        return not point.hash or self._header(point.number).hash == point.hash

    def _header(self, number: int) -> Header:
        """Return a block's header, which some back end has.

        Raises:
            ChainUnavailable: No back end that was asked has the block.
        """
        for seconds in (*_PAUSES, None):
            header = self._chain.header(number)
            if header is not None:
                return header
            if seconds is not None:
                self._pause(seconds)
        raise self._lagging(number)

    def _lagging(self, number: int) -> ChainUnavailable:
        return ChainUnavailable(
            f"{self._chain.shown} does not have block {number}, though it named that block or a "
            "later one: some of its back ends lag. Try again, or use another endpoint."
        )

    # Reading

    def _read_on(
        self, base: Point, head: Header, keep: Callable[[Point, Point, Sequence[Log]], None]
    ) -> None:
        """Read the blocks above `base` up to `head`."""
        by_hash_from = head.number + self._chain.confirmations - READ_BY_HASH + 1
        while base.number < head.number:
            if base.number + 1 < by_hash_from:
                point, logs = self._page_above(base, min(head.number, by_hash_from - 1))
            elif base.number + 1 < head.number:
                point, logs = self._block_above(base, self._header(base.number + 1))
            else:
                point, logs = self._block_above(base, head)
            keep(base, point, logs)
            base = point
        if base.hash != head.hash:
            raise _ChainMoved

    def _block_above(self, base: Point, header: Header) -> tuple[Point, list[Log]]:
        if base.hash and header.parent != base.hash:
            raise _ChainMoved
        logs = self._logs_of(header)
        self._check(logs, header.number, header.number)
        if any(log.block_hash != header.hash for log in logs):
            raise self._wrong(f"logs of another block than {header.hash}")
        return Point(header.number, header.hash), logs

    def _logs_of(self, header: Header) -> list[Log]:
        """Return the logs of a block by its hash."""
        words = ""
        for seconds in (*_PAUSES, None):
            try:
                return self._chain.logs_of_block(self._addresses, header.hash)
            except NodeRefused as error:
                words = error.message
            if seconds is not None:
                self._pause(seconds)
                if self._header(header.number).hash != header.hash:
                    raise _ChainMoved
        raise ChainUnavailable(
            f"{self._chain.shown} does not return the events of block {header.number}: {words}. "
            "Try again, or use another endpoint."
        )

    def _page_above(self, base: Point, most: int) -> tuple[Point, list[Log]]:
        while True:
            size = self._pages.size
            last = min(base.number + size, most)
            end = self._header(last)
            if not self._is_on_chain(base):
                raise _ChainMoved
            logs = self._range(base.number + 1, last)
            if logs is None:
                continue
            self._check(logs, base.number + 1, last)
            if logs and self._header(logs[-1].block).hash != logs[-1].block_hash:
                raise _ChainMoved
            if self._header(last).hash != end.hash:
                raise _ChainMoved
            self._pages.worked(last - base.number)
            return Point(last, end.hash), logs

    def _range(self, first: int, last: int) -> list[Log] | None:
        """Return the logs of some blocks; None if fewer blocks must be asked for."""
        several = last > first
        try:
            logs = self._chain.logs(self._addresses, first, last)
        except NodeRefused as error:
            if not several:
                raise ChainUnavailable(
                    f"{self._chain.shown} does not return the events of block {last}: {error.message}. Use "
                    "an endpoint that keeps all events."
                ) from None
        except ChainUnavailable:
            if last - first < _SLOW_PAGE_BLOCKS:
                raise
        else:
            if not (several and logs and len(logs) % _SUSPICIOUS == 0):
                return sorted(logs, key=lambda log: (log.block, log.index))
        self._pages.failed(last - first + 1)
        return None

    def _check(self, logs: Iterable[Log], first: int, last: int) -> None:
        """Check that logs are of the asked contracts and blocks, each once.

        Raises:
            ChainUnavailable: One is not.
        """
        seen: set[tuple[int, int]] = set()
        for log in logs:
            if not first <= log.block <= last or log.address not in self._addresses:
                raise self._wrong(f"a log of {log.address} in block {log.block}")
            if (log.block, log.index) in seen:
                raise self._wrong(f"log {log.index} of block {log.block} twice")
            seen.add((log.block, log.index))

    def _wrong(self, answer: str) -> ChainUnavailable:
        return ChainUnavailable(
            f"{self._chain.shown} was asked for the events of the contracts and answered {answer}. "
            "Use another endpoint."
        )


class _PageSize:
    """How many blocks to ask for at once: halved on refusal, doubled while all goes well."""

    def __init__(self) -> None:
        self.size = PAGE_BLOCKS
        self._good, self._needed = 0, 1

    def failed(self, blocks: int) -> None:
        """Ask for half as many blocks as were refused."""
        self.size = max(1, blocks // 2)
        self._good, self._needed = 0, _PAGES_BEFORE_GROWTH

    def worked(self, blocks: int) -> None:
        """Count a page; after enough full ones, ask for more."""
        self._good += blocks == self.size
        if self._good >= self._needed:
            self.size, self._good = min(2 * self.size, _MOST_BLOCKS), 0
