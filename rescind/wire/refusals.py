"""Refused calls in the log: short, and few from each certificate, so that no caller fills the disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from rescind.core.errors import RescindError

MOST_CHARACTERS = 1000
"""The longest reason that is logged and sent back. Reasons quote what the caller sent, and gRPC
drops an answer whose headers are longer than 8 KiB."""
_BURST = 20
"""Lines that one certificate gets at once after a rest."""
_LINES_PER_SECOND = 1.0
_REMEMBERED = 4096
"""Certificates that are remembered. An authority issues fewer."""


def shortened(reason: str) -> str:
    """Return a reason of at most `MOST_CHARACTERS`, in which control codes are replaced."""
    cut = reason if len(reason) <= MOST_CHARACTERS else f"{reason[: MOST_CHARACTERS - 3]}..."
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in cut)


@dataclass
class _Lines:
    """The lines that a certificate may still get.

    Attributes:
        left: How many.
        counted_at: When that was right, in seconds of the monotonic clock.
        omitted: Refusals since the last line that were not logged.
    """

    left: float
    counted_at: float
    omitted: int = 0


class RefusalLog:
    """Logs refusals. Used on a server's event loop only.

    Args:
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[str, _Lines] = {}

    def add(self, certificate: str, error: RescindError) -> None:
        """Log a refusal, or count it if its certificate has had many lines.

        Args:
            certificate: Fingerprint of the caller's certificate; empty for none.
            error: The reason.
        """
        now = self._clock()
        if certificate not in self._lines and len(self._lines) >= _REMEMBERED:
            self._lines.clear()
        lines = self._lines.setdefault(certificate, _Lines(_BURST, now))
        lines.left = min(_BURST, lines.left + (now - lines.counted_at) * _LINES_PER_SECOND)
        lines.counted_at = now
        if lines.left < 1:
            lines.omitted += 1
            return
        lines.left -= 1
        omitted, lines.omitted = lines.omitted, 0
        more = {"omitted": omitted} if omitted else {}
        structlog.get_logger().warning(
            "refused",
            code=error.code,
            reason=shortened(str(error)),
            certificate=certificate[:16],
            **more,
        )
