"""Exchanges with the aggregator that failed, and when a node tries them again."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_SECONDS = 0.25
"""The first wait. The aggregator may still be building the files, which takes about a second."""
LONGEST_SECONDS = 3.0
"""The longest wait; each is twice the one before. Every node waits for the files before the next
round, so it does not grow further."""


class Unavailable:
    """The models whose files, or the rounds whose uploads, a node goes on without for a while.

    Args:
        clock: Returns seconds that only grow.
        longest: The longest wait in seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, longest: float = LONGEST_SECONDS
    ) -> None:
        self._clock, self._longest = clock, longest
        self._waits: dict[int, tuple[float, float]] = {}

    def add(self, model_id: int) -> None:
        """Note that a model's files could not be had, or a round's update was not taken, now."""
        last, _ = self._waits.get(model_id, (0.0, 0.0))
        wait = min(self._longest, 2 * last or FIRST_SECONDS)
        self._waits[model_id] = wait, self._clock() + wait

    def now(self) -> frozenset[int]:
        """Return the models or rounds that the node does not ask for now."""
        now = self._clock()
        return frozenset(model_id for model_id, (_, end) in self._waits.items() if now < end)
