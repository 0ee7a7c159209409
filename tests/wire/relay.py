"""A TCP relay that can slow bytes down or drop them."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


class Relay:
    """Relays connections to a local port.

    Attributes:
        silent: Drop every byte of the connections that are open now, and keep them open.
        bytes_per_second: Rate of bytes to the server; None for no limit.
        passed: Bytes that reached the server.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections: list[Connection] = []
        self.bytes_per_second: float | None = None
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                # A small buffer, so that the sender notices a slow link.
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self._connections.append(Connection(self, near, far))

    @property
    def opened(self) -> int:
        return len(self._connections)

    def silence(self) -> None:
        """Drop all bytes of the connections that are open now; later connections work."""
        for each in self._connections:
            each.silent = True

    def cut(self) -> None:
        """Close the connections that are open now."""
        for each in self._connections:
            each.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


class Connection:
    def __init__(self, relay: Relay, near: socket.socket, far: socket.socket) -> None:
        self._relay, self.silent = relay, False
        self._near, self._far = near, far
        for source, sink, up in ((near, far, True), (far, near, False)):
            threading.Thread(target=self._pump, args=(source, sink, up), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                rate = self._relay.bytes_per_second
                if up and rate:
                    time.sleep(len(data) / rate)
                if self.silent:
                    continue
                sink.sendall(data)
                self._relay.passed += len(data) if up else 0
        self.close()

    def close(self) -> None:
        for each in (self._near, self._far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def relayed(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
