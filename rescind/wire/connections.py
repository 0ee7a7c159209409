"""The connections of a gRPC server: no address, no certificate and no silent caller holds them all.

gRPC limits connections in total only, and shows a server calls, not connections. So the sockets of
this process are looked at now and then:

1. A connection on which no call came within `Limits.silent_seconds` is closed.
2. Of the connections of one certificate, those beyond `Limits.certificate_connections` are.
3. Of the connections from one address, those beyond a share of all are.

A socket is shut down, which gRPC takes for the end of the connection. Its client connects again.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import structlog

from rescind.wire.limits import Limits

Endpoint = tuple[str, int]
"""Address and port of the other side."""

_OPEN_FILES = "/dev/fd"
_IPV6_SITE = 64
"""Bits of an IPv6 address that one site shares: its hosts may take any of the others."""


@dataclass
class Connection:
    """Knowledge about an open connection.

    Attributes:
        opened_at: When it was first seen, in seconds of the monotonic clock.
        called_at: When a call on it began or ended last; None before the first.
        certificate: The caller's certificate; empty before the first call.
        open_calls: Its open calls.
    """

    opened_at: float
    called_at: float | None = None
    certificate: str = ""
    open_calls: int = 0


class Connections:
    """Counts the connections of a server by certificate and by address.

    Args:
        limits: What callers may use.
        most: Connections that the server accepts.
        clock: Seconds of a clock that never goes back.
    """

    def __init__(
        self, limits: Limits, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits, self._clock = limits, clock
        self._per_address = max(1, most // limits.address_share)
        self._known: dict[Endpoint, Connection] = {}
        self._lock = threading.Lock()

    @contextmanager
    def calling(self, peer: str, certificate: str) -> Iterator[None]:
        """Count a call for the length of a block.

        Args:
            peer: What gRPC calls the other side, such as ipv4:10.0.0.1:40000.
            certificate: Fingerprint of the caller's certificate.
        """
        with self._lock:
            now = self._clock()
            connection = self._known.setdefault(endpoint(peer), Connection(now))
            connection.certificate, connection.called_at = certificate, now
            connection.open_calls += 1
        try:
            yield
        finally:
            with self._lock:
                connection.open_calls -= 1
                connection.called_at = self._clock()

    def excess(self, open_now: Collection[Endpoint]) -> list[Endpoint]:
        """Return the connections to close.

        Args:
            open_now: The connections that are open.
        """
        with self._lock:
            now = self._clock()
            # A connection that was accepted during the look is known by its call alone.
            calling = {each for each, known in self._known.items() if known.open_calls}
            self._known = {
                each: self._known.get(each) or Connection(now)
                for each in sorted({*open_now, *calling})
            }
            silent = [
                each
                for each, connection in self._known.items()
                if connection.called_at is None
                and now - connection.opened_at > self._limits.silent_seconds
            ]
            left = set(self._known) - set(silent)
            of_certificates = self._beyond(
                left,
                lambda each: self._known[each].certificate,
                self._limits.certificate_connections,
            )
            left -= set(of_certificates)
            return [*silent, *of_certificates, *self._beyond(left, _site, self._per_address)]

    def _beyond(
        self, endpoints: Iterable[Endpoint], group: Callable[[Endpoint], str], most: int
    ) -> list[Endpoint]:
        """Return the connections that are too many of a group: first those that call least."""
        groups: dict[str, list[Endpoint]] = {}
        for each in endpoints:
            if name := group(each):
                groups.setdefault(name, []).append(each)
        return [
            each
            for held in groups.values()
            if len(held) > most
            for each in sorted(held, key=self._use)[: len(held) - most]
        ]

    def _use(self, each: Endpoint) -> tuple[bool, bool, float]:
        """Return how much a connection is used: silent ones are the least, the newest first."""
        connection = self._known[each]
        if connection.called_at is None:
            return (False, False, -connection.opened_at)
        return (True, connection.open_calls > 0, connection.called_at)


class ConnectionWatch:
    """Looks at a server's connections on a thread of its own, and closes those that are too many.

    Args:
        connections: Counts them.
        port: The port that the server listens on.
        seconds: Time between two looks.
    """

    def __init__(self, connections: Connections, port: int, seconds: float) -> None:
        self._connections, self._port, self._seconds = connections, port, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the looks."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> int:
        """Close the connections that are too many, and return their number."""
        chosen = self._connections.excess([each for each, _ in _connected(self._port)])
        if not chosen:
            return 0
        closed = 0
        for each, held in _connected(self._port):
            if each in chosen:
                with suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
                    closed += 1
        structlog.get_logger().warning("connections closed", number=closed)
        return closed

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self.look()


def endpoint(peer: str) -> Endpoint:
    """Return the other side of a connection, from what gRPC calls it.

    Example:
        >>> endpoint("ipv6:%5B::1%5D:40000")
        ('::1', 40000)
    """
    address, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return (_plain(address.strip("[]")), int(port)) if port.isdigit() else (peer, 0)


def _plain(address: str) -> str:
    """Return an address in one form: without a zone, and IPv4 not mapped into IPv6."""
    host = address.partition("%")[0]
    return host.removeprefix("::ffff:") if "." in host else host


def _site(each: Endpoint) -> str:
    """Return what connections from one place have in common."""
    try:
        address = ipaddress.ip_address(each[0])
    except ValueError:
        return each[0]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_SITE), strict=False))


def _connected(port: int) -> Iterator[tuple[Endpoint, socket.socket]]:
    """Yield the connections of this process to one of its own ports.

    Nothing is duplicated and closed: when any descriptor of a file is closed, POSIX drops all locks
    that the process holds on the file, and SQLite would lose records (`rescind.ledger.block_macs`).
    """
    for name in _open_files():
        try:
            held = socket.socket(fileno=int(name))
        except (OSError, ValueError):
            # The descriptor is of another kind, or was closed meanwhile.
            continue
        try:
            other = _other_side(held, port)
            if other is not None:
                yield other, held
        finally:
            held.detach()


def _other_side(held: socket.socket, port: int) -> Endpoint | None:
    if held.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        if held.getsockname()[1] != port:
            return None
        other = held.getpeername()
    except OSError:
        # It listens, or was closed by the other side.
        return None
    return _plain(str(other[0])), int(other[1])


def _open_files() -> Sequence[str]:
    try:
        return [path.name for path in Path(_OPEN_FILES).iterdir()]
    except OSError:
        # A system without it: connections are counted in total only.
        return ()
