"""JSON-RPC over HTTP, against servers that answer anything."""

from __future__ import annotations

import gzip
import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3.exceptions as http

from rescind.contracts import Chain, ChainUnavailable
from rescind.contracts import transport as transport_module
from rescind.contracts.endpoint_faults import LOG_RANGE
from rescind.contracts.errors import NodeRefused
from rescind.contracts.transport import HttpTransport, StatusError, WrongIdError
from rescind.core.errors import RescindError
from tests.contracts.providers import KEY, Time

Answerer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says."""

    protocol_version = "HTTP/1.1"
    answerer: Answerer
    paths: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.answerer(json.loads(body))

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Quiet(ThreadingHTTPServer):
    """A server that prints nothing when a connection ends."""

    def handle_error(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(answerer: Answerer) -> Iterator[tuple[str, list[str]]]:
    """Run a server; yields its URL and the paths that are asked for."""
    paths: list[str] = []
    kind = type("Served", (Handler,), {"answerer": answerer, "paths": paths})
    server = Quiet(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fixed(body: bytes, status: int = 200, **headers: str) -> Answerer:
    return lambda handler, _: handler.answer(body, status, **headers)


def right(handler: Handler, asked: dict[str, Any], result: Any = "0x7") -> None:
    handler.answer(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode())


def test_a_right_answer_is_returned_and_the_connection_stays_open() -> None:
    with serving(right) as (url, _):
        sender = HttpTransport(url)
        first = sender.send("eth_chainId", ())
        assert sender.send("eth_chainId", ())["id"] == first["id"] + 1
        pool = next(iter(sender._pool.pools._container.values()))
        assert pool.num_connections == 1


def test_a_compressed_answer_is_read() -> None:
    def compressed(handler: Handler, asked: dict[str, Any]) -> None:
        body = json.dumps({"id": asked["id"], "result": "0x7"}).encode()
        handler.answer(gzip.compress(body, mtime=0), Content_Encoding="gzip")

    with serving(compressed) as (url, _):
        assert HttpTransport(url).send("eth_chainId", ())["result"] == "0x7"


@pytest.mark.parametrize("number", [2, "1", None, True, 1.0], ids=repr)
def test_the_answer_to_another_request_is_refused(number: Any) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": number, "result": "0x7"}).encode()
    with serving(fixed(body)) as (url, _), pytest.raises(WrongIdError):
        HttpTransport(url).send("eth_chainId", ())


def test_an_error_may_lack_the_id() -> None:
    body = b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32005, "message": "slow down"}}'
    with serving(fixed(body)) as (url, _):
        assert HttpTransport(url).send("eth_chainId", ())["error"]["code"] == -32005


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), (" 7 ", 7), ("-7", None), ("soon", None), ("", None), (formatdate(0), 0)],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    answerer = fixed(b"", 429, Retry_After=text)
    with serving(answerer) as (url, _), pytest.raises(StatusError) as error:
        HttpTransport(url).send("eth_chainId", ())
    assert error.value.wait_seconds == seconds


def test_a_redirect_is_not_followed() -> None:
    refused = pytest.raises(ChainUnavailable, match=r"HTTP 307 \(redirect\)")
    with (
        serving(right) as (other, paths),
        serving(fixed(b"", 307, Location=f"{other}/{KEY}")) as (url, _),
        refused as error,
    ):
        Chain(f"{url}/{KEY}").check()
    assert paths == []
    assert KEY not in str(error.value)


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport_module, "_MOST_BYTES", 1000)
    bomb = gzip.compress(b"[" + b"0," * 10_000 + b"0]", mtime=0)
    for answerer in (fixed(b'"' + b"0" * 2000 + b'"'), fixed(bomb, Content_Encoding="gzip")):
        with serving(answerer) as (url, _):
            with pytest.raises(ChainUnavailable, match="too many bytes"):
                Chain(url).check()
            with pytest.raises(NodeRefused) as error:
                Chain(url).logs(["0x" + "0a" * 20], 1, 9)
            assert error.value.fault is LOG_RANGE


def test_an_answer_that_does_not_end_is_given_up() -> None:
    ticks = iter(range(0, 10_000, 20))
    body = b'"' + b"0" * (4 * transport_module._PIECE_BYTES) + b'"'
    with serving(fixed(body)) as (url, _):
        sender = HttpTransport(url, 60, clock=lambda: next(ticks))
        with pytest.raises(http.TimeoutError):
            sender.send("eth_chainId", ())


def test_an_answer_that_is_cut_off_is_noticed() -> None:
    def cut(handler: Handler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"jsonrpc"')
        handler.close_connection = True

    def chunked(handler: Handler, _: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b'a\r\n{"jsonrpc"\r\n')
        handler.close_connection = True

    for answerer in (cut, chunked):
        with serving(answerer) as (url, _):
            chain = Chain(url)
            chain.rpc.waiting = Time().waiting()
            with pytest.raises(ChainUnavailable, match=r"cut .*off|closed the connection"):
                chain.check()


def test_a_connection_that_ends_before_the_answer_is_tried_again() -> None:
    answers = iter([False, False, True])

    def sometimes(handler: Handler, asked: dict[str, Any]) -> None:
        if next(answers):
            right(handler, asked)
        else:
            handler.close_connection = True
            handler.connection.close()

    with serving(sometimes) as (url, paths):
        chain = Chain(url)
        chain.rpc.waiting = Time().waiting()
        assert chain.check() == 7
    assert len(paths) == 3


@pytest.mark.parametrize(
    "url", ["http://localhost:9", "http://127.0.0.1:9", "http://[::1]:9", "http://127.1:9"]
)
def test_this_machine_is_never_reached_through_a_proxy(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert HttpTransport(url)._pool.proxy is None
    elsewhere = HttpTransport("http://node.example")._pool.proxy
    assert elsewhere is not None
    assert elsewhere.host == "proxy.example"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The connections to a node through a proxy that the environment names."""

    def connections(proxy: str) -> Any:
        for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        return HttpTransport(f"http://node.example/{KEY}")._pool

    return connections


def test_a_proxy_may_need_a_password(proxied: Callable[[str], Any]) -> None:
    pool = proxied("http://user:pass%40word@proxy.example:3128")
    assert b64decode(pool.proxy_headers["proxy-authorization"].split()[1]) == b"user:pass@word"
    assert proxied("proxy.example:3128").proxy.host == "proxy.example"


def test_a_proxy_that_is_not_of_http_is_one_clear_error(proxied: Callable[[str], Any]) -> None:
    with pytest.raises(ChainUnavailable, match="which is not an HTTP proxy") as error:
        proxied("socks5://user:secret@proxy.example:1080")
    assert KEY not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://node", "wss://node/ws", "http://", "http://[::1", "file:///x"]
)
def test_what_is_not_a_url_of_http_is_refused(url: str) -> None:
    with pytest.raises(ChainUnavailable, match="cannot be an Ethereum node"):
        Chain(url)


ADDRESS, HASH = "0x" + "0a" * 20, "0x" + "02" * 32
METHODS: dict[str, Callable[[Chain], object]] = {
    "check": lambda chain: chain.check(),
    "now": lambda chain: chain.now(),
    "latest": lambda chain: chain.latest(),
    "time_of": lambda chain: chain.time_of(3),
    "final_block_number": lambda chain: chain.final_block_number(),
    "at_one_block": lambda chain: chain.at_one_block().__enter__(),
    "block_hash": lambda chain: chain.block_hash(3),
    "header": lambda chain: chain.header(3),
    "nonce": lambda chain: chain.nonce(ADDRESS),
    "balance": lambda chain: chain.balance(ADDRESS),
    "code": lambda chain: chain.code(ADDRESS),
    "call": lambda chain: chain.call(ADDRESS, b"", "latest"),
    "logs": lambda chain: chain.logs([ADDRESS], 1, 2),
    "logs_of_block": lambda chain: chain.logs_of_block([ADDRESS], HASH),
    "transaction": lambda chain: chain.transaction(HASH),
    "transactions": lambda chain: chain.transactions(3),
    "gas_used": lambda chain: chain.gas_used(HASH),
}
GARBAGE: list[Answerer] = [
    fixed(b"<html>https://user:{KEY}@host/v3/{KEY}</html>".replace(b"{KEY}", KEY.encode())),
    fixed(KEY.encode()),
    fixed(b""),
    fixed(b"\xff\xfe\x00"),
    fixed(b"[" * 100_000),
    fixed(b'{"jsonrpc": "2.0", "id": 1, "resu'),
    fixed(b"null"),
    fixed(b"[]"),
    fixed(b"{}"),
    fixed(b'{"jsonrpc": "2.0", "id": 99, "result": "0x1"}'),
    fixed(b'{"id": 1, "error": true}'),
    fixed(b'{"id": 1, "error": {"code": "x", "message": {"a": []}, "data": 5}}'),
    fixed(b'{"id": 1, "error": {"code": 1e400}}'),
    fixed(f'{{"error": {{"code": -32000, "message": "key {KEY} is over"}}}}'.encode()),
    fixed(b'{"error": {"code": -32005, "message": "limit exceeded"}}'),
    fixed(b'{"error": {"code": -32601, "message": "method not found"}}'),
    fixed(b'{"error": {"code": -32602, "message": "invalid block tag"}}'),
    fixed(b'{"error": {"code": -32000, "message": "header not found"}}'),
    fixed(b'{"error": {"code": 3, "message": "execution reverted", "data": "0xzz"}}'),
    fixed(b"gzip", Content_Encoding="gzip"),
    fixed(b"", 204),
    fixed(KEY.encode(), 429, Retry_After=KEY),
    fixed(b'{"error": {"code": 429, "message": "slow"}}', 429, Retry_After="5"),
    fixed(f"<html>{KEY}</html>".encode(), 502),
    fixed(KEY.encode(), 403),
    fixed(KEY.encode(), 301, Location=f"http://127.0.0.1:9/{KEY}"),
    fixed(b'{"id": 1, "result": "0x1"}', 500),
    fixed(b"x", 999),
    lambda handler, _: handler.connection.close(),
    lambda handler, _: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n" * 9) and None,
    lambda handler, asked: right(handler, asked, None),
    lambda handler, asked: right(handler, asked, [KEY]),
    lambda handler, asked: right(handler, asked, {"number": "0x1", "hash": KEY}),
    lambda handler, asked: right(handler, asked, "0x" + "f" * 1000),
]


@pytest.mark.parametrize("place", range(len(GARBAGE)))
def test_whatever_a_server_answers_every_method_ends_as_an_error_that_daemons_expect(
    place: int,
) -> None:
    def answer(handler: Handler, asked: dict[str, Any]) -> None:
        handler.close_connection = True
        GARBAGE[place](handler, asked)

    with serving(answer) as (url, _):
        secret = url.replace("http://", f"http://user:{KEY}@") + f"/v3/{KEY}?token={KEY}"
        for name, method in METHODS.items():
            chain = Chain(secret)
            chain.rpc.waiting = Time().waiting()
            message = complaint(lambda: method(chain))  # noqa: B023
            assert KEY not in message, name
            assert len(message) < 800, name


def complaint(question: Callable[[], object]) -> str:
    """The message of the error that a question ends with; empty for none."""
    try:
        question()
    except RescindError as error:
        return str(error)
    return ""
