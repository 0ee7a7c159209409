"""Limits of a gRPC server: what each certificate may use, so that no caller can stop the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rescind.wire.errors import TooManyCalls
from rescind.wire.transfer import MOST_PIECE_BYTES

MESSAGE_BYTES = MOST_PIECE_BYTES + 2**16
"""Largest message: a piece of 4 MiB and 64 KiB of other fields."""

SMALL_MESSAGE_BYTES = 2**18
"""Largest request of a call that carries no piece; a training report of 64 KiB fits twice over."""

_REMEMBERED = 4096
"""Callers whose use is remembered. An authority issues fewer certificates."""


@dataclass(frozen=True)
class Limits:
    """The use that a server grants to callers.

    Attributes:
        open_calls: Calls that one certificate may have open. Further calls are refused.
        working: Calls of one certificate that are carried out at a time. Further calls wait.
        threads: Calls of all certificates that are carried out at a time.
        admissions: Certificates that are looked up at a time, on threads of their own, so that
            strangers cannot keep members out.
        all_calls: Calls of all certificates that may be open.
        streams: Calls that may be open on one connection (HTTP/2 max concurrent streams).
        calls_per_second: Calls that one certificate may begin each second, over a longer time.
        burst: Calls that it may begin at once after a rest.
        refusal_cost: Calls that a refused certificate is charged with, because looking it up costs
            more than serving it.
        read_seconds: Time for the message of a call to arrive.
        recent_seconds: Time for which a certificate that was looked up may send and fetch pieces.
        connections: Connections that may be open.
        address_share: One address may hold one in so many of them.
        certificate_connections: Connections of one certificate that may be open.
        silent_seconds: Time in which the first call on a connection must begin.
        watch_seconds: Time between two looks at the connections.
        handshake_seconds: Time for a connection's TLS handshake.
        age_seconds: Age at which a connection is asked to end.
        age_grace_seconds: Time for its calls to end after that.
        idle_seconds: Time without calls after which a connection is closed.
    """

    open_calls: int = 32
    working: int = 4
    threads: int = 16
    admissions: int = 4
    all_calls: int = 1024
    streams: int = 64
    calls_per_second: float = 100.0
    burst: int = 200
    refusal_cost: int = 20
    read_seconds: float = 120.0
    recent_seconds: float = 5.0
    connections: int = 2048
    address_share: int = 4
    certificate_connections: int = 32
    silent_seconds: float = 30.0
    watch_seconds: float = 1.0
    handshake_seconds: int = 20
    age_seconds: int = 3600
    age_grace_seconds: int = 600
    idle_seconds: int = 600


@dataclass
class Caller:
    """The use that one certificate makes of a server.

    Attributes:
        working: Held by each of its calls while a thread carries it out.
        admission: Held while the certificate is looked up, so that its calls share one look-up.
        open: Its open calls.
        tokens: Calls that it may begin now.
        counted_at: When `tokens` was right, in seconds of the monotonic clock.
        admitted: Its owner, once looked up.
        admitted_at: When it was looked up.
    """

    working: asyncio.Semaphore
    admission: asyncio.Lock
    tokens: float
    counted_at: float
    open: int = 0
    admitted: Any = None
    admitted_at: float = field(default=float("-inf"))


class Callers:
    """The callers of a server. Used on the server's event loop only.

    Args:
        limits: What each of them may use.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._callers: dict[str, Caller] = {}

    def now(self) -> float:
        """Return the time by the clock that callers are counted with."""
        return self._clock()

    @contextmanager
    def entered(self, certificate: str) -> Iterator[Caller]:
        """Count a call of a certificate as open for the length of a block.

        Args:
            certificate: Fingerprint of the certificate.

        Raises:
            TooManyCalls: The certificate has too many calls open, or begins too many.
        """
        limits, caller = self._limits, self._caller(certificate)
        if caller.open >= limits.open_calls:
            raise TooManyCalls(
                f"your certificate has {caller.open} calls open, which is the limit: wait for some "
                "of them to end"
            )
        if caller.tokens < 1:
            raise TooManyCalls(
                f"your certificate begins more than {limits.calls_per_second:g} calls per second: "
                "slow down and try again"
            )
        caller.tokens -= 1
        caller.open += 1
        try:
            yield caller
        finally:
            caller.open -= 1

    def charge_refusal(self, caller: Caller) -> None:
        """Charge a caller that was refused after it was looked up; no earlier look-up counts."""
        caller.admitted_at = float("-inf")
        caller.tokens = max(caller.tokens - self._limits.refusal_cost, 0.0)

    def is_recent(self, caller: Caller) -> bool:
        """Return whether a caller was looked up a moment ago."""
        return self._clock() - caller.admitted_at <= self._limits.recent_seconds

    def admit(self, caller: Caller, owner: object) -> None:
        """Remember the owner of a caller's certificate."""
        caller.admitted, caller.admitted_at = owner, self._clock()

    def _caller(self, certificate: str) -> Caller:
        """Return a caller with the tokens that it has now."""
        now, limits = self._clock(), self._limits
        caller = self._callers.get(certificate)
        if caller is None:
            self._forget_idle()
            working = asyncio.Semaphore(limits.working)
            caller = Caller(working, asyncio.Lock(), float(limits.burst), now)
            self._callers[certificate] = caller
        gained = (now - caller.counted_at) * limits.calls_per_second
        caller.tokens = min(float(limits.burst), caller.tokens + gained)
        caller.counted_at = now
        return caller

    def _forget_idle(self) -> None:
        if len(self._callers) >= _REMEMBERED:
            self._callers = {name: each for name, each in self._callers.items() if each.open}
