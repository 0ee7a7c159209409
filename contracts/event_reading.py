"""Reading the logs of a consortium's contracts from the chain, page after page.

1. Below the newest blocks, logs are read in pages of many blocks. A page that is refused is halved.
   The hashes of its last block and of the block before it are read before and after its logs, and
   the hash of the block of its last log after them: then the logs are of the chain on which the
   last block is.
2. The newest blocks are read one at a time, by hash. A back end that does not have the block refuses
   the question. Asked for a range, a back end that lags would leave out the logs of blocks that it
   does not have, without a word.

Several requests are under way at once, because most of the time of each is spent on the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from rescind.contracts.blocks import Header
from rescind.contracts.chain import Chain
from rescind.contracts.errors import ChainUnavailable
from rescind.contracts.event_store import Point
from rescind.contracts.rpc import Log, NodeRefused

_T = TypeVar("_T")
AT_ONCE: Final = 8
"""Requests under way at the same time; public providers allow tens in a second."""
READ_BY_HASH = 16
"""Newest blocks that are read one at a time, by hash: more than back ends usually lag."""
PAGE_BLOCKS = 2_000
"""Blocks of the first page; public providers allow at least so many."""
_MOST_BLOCKS = 128_000
_PAGES_BEFORE_GROWTH = 8
"""Pages to read after a first refusal before a larger one is tried."""
_MOST_PAGES_BEFORE_GROWTH = 1024
_SLOW_PAGE_BLOCKS = 500
"""Smallest page that is tried again at half its size when there was no answer at all."""
_SUSPICIOUS = 500
"""Providers that cut a long answer cut it at a multiple of this many logs."""
_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds to wait for a block that a back end does not have yet, though another one named it."""

Page = tuple[Point, list[Log]]
"""The last block that was read, and the logs up to it."""


class ChainMoved(Exception):
    """Blocks were replaced while they were read."""


class EventReader:
    """Reads the logs of some contracts.

    Args:
        chain: The chain.
        addresses: The contracts.
        at_once: Most requests that are under way at the same time.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        chain: Chain,
        addresses: Sequence[str],
        *,
        at_once: int = AT_ONCE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chain, self._addresses = chain, addresses
        self._at_once, self._pause = at_once, pause
        self._pages = _PageSize()

    def header(self, number: int) -> Header:
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
        raise ChainUnavailable(
            f"{self._chain.shown} does not have block {number}, though it named that block or a "
            "later one: some of its back ends lag. Try again, or use another endpoint."
        )

    def read_on(
        self, base: Point, head: Header, keep: Callable[[Point, Point, Sequence[Log]], None]
    ) -> None:
        """Read the blocks above `base` up to `head`.

        Args:
            base: The last block that was read.
            head: The last block to read.
            keep: Takes what was read: the block before it, its last block, and its logs.

        Raises:
            ChainMoved: Blocks were replaced meanwhile.
            ChainUnavailable: The chain does not answer, or answers wrongly.
        """
        by_hash_from = head.number + self._chain.confirmations - READ_BY_HASH + 1
        while base.number < head.number:
            if base.number + 1 < by_hash_from:
                pages = self._pages_above(base, min(head.number, by_hash_from - 1))
            else:
                pages = self._blocks_above(base, head)
            for point, logs in pages:
                keep(base, point, logs)
                base = point
        if base.hash != head.hash:
            raise ChainMoved

    def _blocks_above(self, base: Point, head: Header) -> list[Page]:
        """Return the logs of the next blocks, each read by its hash."""
        last = min(head.number, base.number + READ_BY_HASH)
        headers = self._headers(range(base.number + 1, min(last + 1, head.number)))
        if last == head.number:
            headers.append(head)
        hashes = [base.hash, *(header.hash for header in headers)]
        for header, parent in zip(headers, hashes, strict=False):
            if parent and header.parent != parent:
                raise ChainMoved
        answers = self._together([partial(self._logs_of, header) for header in headers])
        return [
            (Point(header.number, header.hash), logs)
            for header, logs in zip(headers, answers, strict=True)
        ]

    def _logs_of(self, header: Header) -> list[Log]:
        """Return the logs of a block by its hash."""
        words = ""
        for seconds in (*_PAUSES, None):
            try:
                logs = self._chain.logs_of_block(self._addresses, header.hash)
            except NodeRefused as error:
                words = error.message
            else:
                self._check(logs, header.number, header.number)
                if any(log.block_hash != header.hash for log in logs):
                    raise self._wrong(f"logs of another block than {header.hash}")
                return logs
            if seconds is not None:
                self._pause(seconds)
                if self.header(header.number).hash != header.hash:
                    raise ChainMoved
        raise ChainUnavailable(
            f"{self._chain.shown} does not return the events of block {header.number}: {words}. "
            "Try again, or use another endpoint."
        )

    def _pages_above(self, base: Point, most: int) -> list[Page]:
        """Return the next pages of logs, as many as are read at once."""
        while True:
            size = self._pages.size
            ends = [min(base.number + size * page, most) for page in range(1, self._at_once + 1)]
            bounds = [base.number, *sorted(set(ends))]
            before = self._headers(bounds[not base.hash :])
            if base.hash and before[0].hash != base.hash:
                raise ChainMoved
            pages = self._ranges(bounds)
            if pages:
                break
        bounds = bounds[: len(pages) + 1]
        checked = bounds[not base.hash :]
        with_logs = [logs[-1] for logs in pages if logs]
        after = self._headers([*checked, *(log.block for log in with_logs)])
        expected = [header.hash for header in before[: len(checked)]]
        expected += [log.block_hash for log in with_logs]
        if [header.hash for header in after] != expected:
            raise ChainMoved
        for first, last in pairwise(bounds):
            self._pages.worked(last - first)
        points = [Point(header.number, header.hash) for header in before]
        return list(zip(points[bool(base.hash) :], pages, strict=False))

    def _ranges(self, bounds: Sequence[int]) -> list[list[Log]]:
        """Return the logs between bounds, up to the first page that is too large."""
        asked = [(first + 1, last) for first, last in pairwise(bounds)]
        answers = self._together([partial(self._range, first, last) for first, last in asked])
        pages: list[list[Log]] = []
        for (first, last), logs in zip(asked, answers, strict=True):
            if logs is None:
                self._pages.failed(last - first + 1)
                break
            pages.append(logs)
        return pages

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
            return None
        except ChainUnavailable:
            if last - first < _SLOW_PAGE_BLOCKS:
                raise
            return None
        if several and logs and len(logs) % _SUSPICIOUS == 0:
            return None
        self._check(logs, first, last)
        return sorted(logs, key=lambda log: (log.block, log.index))

    def _headers(self, numbers: Iterable[int]) -> list[Header]:
        return self._together([partial(self.header, number) for number in numbers])

    def _together(self, questions: Sequence[Callable[[], _T]]) -> list[_T]:
        """Ask several questions at once, and return the answers in their order."""
        workers = min(self._at_once, len(questions))
        if workers <= 1:
            return [question() for question in questions]
        with ThreadPoolExecutor(workers, "events") as executor:
            asked = [executor.submit(question) for question in questions]
            try:
                return [answer.result() for answer in asked]
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise

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
        self._patience = _PAGES_BEFORE_GROWTH

    def failed(self, blocks: int) -> None:
        """Ask for half as many blocks as were refused."""
        self.size = max(1, blocks // 2)
        self._good, self._needed = 0, self._patience
        # A larger page is tried more and more seldom: most providers do not change their limit.
        self._patience = min(2 * self._patience, _MOST_PAGES_BEFORE_GROWTH)

    def worked(self, blocks: int) -> None:
        """Count a page; after enough full ones, ask for more."""
        self._good += blocks == self.size
        if self._good >= self._needed:
            self.size, self._good = min(2 * self.size, _MOST_BLOCKS), 0
