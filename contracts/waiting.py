"""How often to look for a transaction, and how long."""

from __future__ import annotations

from rescind.contracts.errors import ChainUnavailable, SendingPaused
from rescind.contracts.send_node import Clock

_PATIENT_BLOCKS, _PATIENT_SECONDS = 64, 600.0
"""Both must have passed without the transaction being mined."""
_STALLED_SECONDS = 900.0
"""Without any new block."""
_OUTAGE_SECONDS = 30.0
"""Without any answer."""
_FIRST_PAUSE, _FIRST_DEEP_PAUSE, _LONGEST_PAUSE = 0.05, 0.25, 2.0
_FIRST_TENDING, _LONGEST_TENDING = 3.0, 12.0
_FIRST_LOST = 1.0
"""Least seconds between two tendings of a transaction that no pool shows. They double each time:
some providers never show what is not mined."""
_GROWTH = 1.4


class Pace:
    """Pauses between two looks, which grow.

    Args:
        clock: The time.
        deep: Whether blocks must follow the transaction's, so that it cannot be final at once.
        at_once: Whether the first look tends what is open, because the pool may have lost it.
    """

    def __init__(self, clock: Clock, *, deep: bool, at_once: bool = False) -> None:
        self._clock = clock
        self._first = _FIRST_DEEP_PAUSE if deep else _FIRST_PAUSE
        self._pause, self._between, self._lost = self._first, _FIRST_TENDING, _FIRST_LOST
        self._tended = clock.monotonic()
        self._due = self._tended + (0.0 if at_once else self._between)

    def shown(self) -> None:
        """Take note that a block or a pool shows the transaction."""
        self._lost = _FIRST_LOST

    def lost(self) -> None:
        """Tend what is open soon: neither a block nor a pool shows the transaction.

        A reorganization can drop it so soon after it was mined that no look found it in a block.
        """
        self._due = min(self._due, self._tended + self._lost)

    def restart(self) -> None:
        """Tend what is open at the next look, and look often again: a reorganization dropped it."""
        self._pause, self._between = self._first, _FIRST_TENDING
        self._due = self._clock.monotonic()

    def pause(self) -> float:
        """Return the seconds until the next look."""
        pause, self._pause = self._pause, min(self._pause * _GROWTH, _LONGEST_PAUSE)
        return pause

    def tending_due(self) -> bool:
        """Return whether it is time to tend what is open."""
        now = self._clock.monotonic()
        if now < self._due:
            return False
        self._between = min(self._between * _GROWTH, _LONGEST_TENDING)
        self._lost = min(2 * self._lost, _LONGEST_TENDING)
        self._tended, self._due = now, now + self._between
        return True


class Patience:
    """Decides when to wait no longer. Time is counted in blocks, which may be minutes apart.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = self._moved = self._heard = clock.monotonic()
        self._first: int | None = None
        self._head = -1

    def saw(self, head: int) -> None:
        """Take note of the newest block."""
        if self._first is None:
            self._first = head
        if head > self._head:
            self._head, self._moved = head, self._clock.monotonic()

    def answered(self) -> None:
        """Take note that the node answered."""
        self._heard = self._clock.monotonic()

    def missed(self, error: ChainUnavailable, paused: SendingPaused) -> None:
        """Take note that the node did not answer.

        Raises:
            SendingPaused: `paused`, when it has not answered for a while.
        """
        if self._clock.monotonic() - self._heard >= _OUTAGE_SECONDS:
            raise paused from error

    def over(self, *, mined: bool) -> str:
        """Return why to stop waiting; empty to go on.

        Args:
            mined: Whether the transaction is in a block that is not final yet.
        """
        now = self._clock.monotonic()
        if now - self._moved >= _STALLED_SECONDS:
            return f"the chain had made no block for {now - self._moved:.0f} s"
        blocks = 0 if self._first is None else self._head - self._first
        waited = now - self._began
        if not mined and blocks >= _PATIENT_BLOCKS and waited >= _PATIENT_SECONDS:
            return f"{blocks} blocks and {waited:.0f} s had passed"
        return ""
