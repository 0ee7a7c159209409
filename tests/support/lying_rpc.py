"""An RPC endpoint that passes calls on to a chain and changes some of the answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

Lie = Callable[[str, list[Any], Any], Any]
"""Method, parameters and the true result; returns the result that is told."""


@contextmanager
def lying_rpc(url: str, lie: Lie) -> Iterator[str]:
    """Run the endpoint.

    Args:
        url: URL of the honest node behind it.
        lie: What it makes of each answer.

    Yields:
        Its URL.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = json.loads(body)
            headers = {"Content-Type": "application/json"}
            with urlopen(Request(url, body, headers)) as response:
                answer = json.load(response)
            if "result" in answer:
                answer["result"] = lie(asked["method"], asked.get("params", []), answer["result"])
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing: the test's output is the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
