"""A chain's time: the time that its next block would have.

Contracts compare deadlines with the time of the block that a transaction is in. That is not the
time of the latest block, which may be minutes old, and not the time of this machine: a chain's clock
may be an hour off, and only its own blocks say by how much.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from rescind.contracts.blocks import Header

_REMEMBERED = 64
"""Blocks whose first sight is remembered: back ends that lag show earlier ones again."""


class ChainClock:
    """The time of a chain, which goes on between blocks. Several threads may use one clock.

    A block's time, plus what passed here since that block was first seen, is never ahead of the
    chain: the block was mined before it was seen. So a deadline that has passed by this clock has
    passed for the next block, too.

    Args:
        monotonic: Seconds that only grow.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._latest: Header | None = None

    def saw(self, latest: Header) -> int:
        """Return the time now, Unix seconds, by the latest block that a node has."""
        with self._lock:
            self._latest, present = latest, self._monotonic()
            seen = self._seen.setdefault(latest.hash, present)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return latest.time + int(present - seen)

    def without_a_node(self) -> int:
        """Return the time now by the last block that was seen; 0 before there was one."""
        return 0 if self._latest is None else self.saw(self._latest)
