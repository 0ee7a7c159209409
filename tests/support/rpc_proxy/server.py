"""An HTTP server that passes JSON-RPC on to a node, through the modes."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

from tests.support.rpc_proxy.calls import Broken, Call, Cut, Mode, Refusal
from tests.support.rpc_proxy.transport_modes import NoBatch

COUNTS = "proxy_counts"
"""A method that the proxy answers itself, with what it did."""


class Proxy:
    """A misbehaving provider of a node.

    Args:
        url: URL of the node.
        modes: The ways to misbehave, the one nearest to the client first.
    """

    def __init__(self, url: str, modes: Sequence[Mode]) -> None:
        self.url, self.modes = "", list(modes)
        self._node = url
        self._pool = urllib3.PoolManager(maxsize=32)
        self._calls: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        """Return how often each mode hit, and how many calls there were as `calls`."""
        total: Counter[str] = Counter(calls=self._calls.total())
        for mode in self.modes:
            total.update({mode.name: 0})
            total.update(mode.counts)
        return dict(total)

    def ask(self, call: Call) -> Any:
        """Return the result of a call.

        Raises:
            Refusal: The node or a mode answers with an error.
            Broken: A mode answers with something else.
            Cut: A mode cuts the answer.
        """
        if call.method == COUNTS:
            return self.counts()
        self._calls[call.method] += 1
        return self._through(0, call)

    def _through(self, place: int, call: Call) -> Any:
        if place == len(self.modes):
            return self._forward(call)
        return self.modes[place].answer(call, lambda inner: self._through(place + 1, inner))

    def _forward(self, call: Call) -> Any:
        document = {"jsonrpc": "2.0", "id": 1, "method": call.method, "params": call.params}
        answer = self._pool.request(
            "POST",
            self._node,
            body=json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
            retries=False,
            timeout=60.0,
        )
        parsed = json.loads(answer.data)
        if "error" in parsed:
            error = parsed["error"]
            raise Refusal(error["code"], error["message"], error.get("data"), status=answer.status)
        return parsed["result"]

    def respond(self, asked: Any) -> tuple[int, bytes]:
        """Return status and body of the answer to a request or a list of them."""
        if not isinstance(asked, list):
            status, document = self._document(asked)
            return status, json.dumps(document).encode()
        try:
            for mode in self.modes:
                if isinstance(mode, NoBatch):
                    mode.check_batch()
        except Refusal as refusal:
            error = {"jsonrpc": "2.0", "id": None, "error": refusal.error}
            return refusal.status, json.dumps(error).encode()
        return 200, json.dumps([self._document(each)[1] for each in asked]).encode()

    def _document(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        document = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            result = self.ask(Call(asked["method"], tuple(asked.get("params", ()))))
        except Refusal as refusal:
            return refusal.status, {**document, "error": refusal.error}
        except Cut as cut:
            whole = json.dumps({**document, "result": cut.result}).encode()
            raise Broken(whole[: len(whole) // 2], cut=cut.closed) from None
        return 200, {**document, "result": result}


class Server(ThreadingHTTPServer):
    """The server of a proxy, on a free port of 127.0.0.1 unless another one is given."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.proxy = proxy
        proxy.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the port and all connections: clients keep them open between requests."""
        super().server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients may end in the middle of a request."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            status, data = self.server.proxy.respond(json.loads(body))
        except Broken as broken:
            self._break(broken)
        except urllib3.exceptions.HTTPError:
            self._answer(502, b"the node does not answer\n", {"Content-Type": "text/plain"})
        else:
            self._answer(status, data, {"Content-Type": "application/json"})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _break(self, broken: Broken) -> None:
        if not broken.cut:
            self._answer(broken.status, broken.body, broken.headers)
            return
        if broken.body:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(2 * len(broken.body)))
            self.end_headers()
            self.wfile.write(broken.body)
            self.wfile.flush()
        # A reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing: the test's output is the log."""
