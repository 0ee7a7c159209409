"""A smoothed rate of tokens per second."""

from __future__ import annotations

import time
from collections.abc import Callable

_KEPT = 0.9
"""The weight of a step falls by a tenth with each later one: a mean over about ten steps."""


class Speed:
    """Tokens over seconds, both exponentially weighted. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int) -> None:
        """Record that a step over `tokens` tokens has just ended."""
        now = self._clock()
        self._tokens = _KEPT * self._tokens + tokens
        self._seconds = _KEPT * self._seconds + (now - self._last)
        self._last = now

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self._tokens / max(self._seconds, 1e-9)
