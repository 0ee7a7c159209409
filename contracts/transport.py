"""JSON-RPC over HTTP.

requests reads the environment and the netrc file again for every request, which takes as long as
the request to a node near by. Here they are read once.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from certifi import where
from requests.utils import (
    get_auth_from_url,
    get_environ_proxies,
    get_netrc_auth,
    select_proxy,
)

from rescind.contracts.errors import ChainUnavailable
from rescind.core.hosts import is_loopback
from rescind.core.json_text import parse_json
from rescind.core.redaction import shown_url

TIMEOUT_SECONDS = 60.0
"""Most seconds from a request to the end of its answer."""
_CONNECT_SECONDS = 10.0
_CONNECTIONS = 16
"""Connections that are kept open, one for each thread that asks at the same time."""
_MOST_BYTES = 64 * 2**20
"""Most bytes of an answer. A block of 10,000 logs, the most that providers return, has about 8 MiB."""
_PIECE_BYTES = 2**20


class StatusError(urllib3.exceptions.HTTPError):
    """The status of an HTTP answer is not one of success.

    Attributes:
        status: The status.
        body: What came with it.
        wait_seconds: How long the server asks to wait (Retry-After); None if it does not say.
    """

    def __init__(self, status: int, body: bytes, wait_seconds: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.body, self.wait_seconds = status, body, wait_seconds


class NotJsonError(ValueError):
    """An answer with a status of success is not JSON.

    Attributes:
        body: What came instead.
    """

    def __init__(self, body: bytes) -> None:
        super().__init__("the answer is not JSON")
        self.body = body


class OversizedError(ValueError):
    """An answer has more bytes than any that is needed."""


class WrongIdError(ValueError):
    """An answer is to another request."""


class Transport(Protocol):
    """Sends JSON-RPC requests to a node."""

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        """Return the JSON document with which the node answers.

        Raises:
            StatusError: The status is not one of success.
            urllib3.exceptions.HTTPError: There is no answer.
            ValueError: The answer is not JSON, too large, or to another request.
        """


class HttpTransport:
    """Requests to a URL, over connections that stay open.

    Proxies, certificate authorities and passwords of the environment are honoured, as curl and
    requests honour them, except that this machine is never reached through a proxy. Redirects are
    not followed: the key in a URL could reach another host.

    Args:
        url: The URL, which may hold a user and a password.
        timeout_seconds: Most seconds from a request to the end of its answer.
        clock: Seconds that only grow.

    Raises:
        ChainUnavailable: It is not a URL.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._seconds = timeout_seconds
        self._timeout = urllib3.Timeout(min(_CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("not a URL of HTTP")
            host = parts.netloc.rpartition("@")[2]
            self._url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
            self._headers = {"Content-Type": "application/json", **_authorization(url)}
            self._pool = _pool(url)
        except ValueError:
            raise ChainUnavailable(
                f"{shown_url(url)} cannot be an Ethereum node. Correct rpc_url, for example to "
                "https://node.example:8545."
            ) from None

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        number = next(self._numbers)
        document = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(parameters)}
        deadline = self._clock() + self._seconds
        answer = self._pool.request(
            "POST",
            self._url,
            body=json.dumps(document).encode(),
            headers=self._headers,
            timeout=self._timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        body = self._body(answer, deadline)
        if not 200 <= answer.status < 300:
            raise StatusError(answer.status, body, _retry_after(answer.headers))
        try:
            result = parse_json(body)
        except (ValueError, RecursionError):
            raise NotJsonError(body) from None
        _check_id(result, number)
        return result

    def _body(self, answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        """Return the body of an answer, of which neither size nor time is without bound."""
        pieces: list[bytes] = []
        size = 0
        while piece := answer.read1(_PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                answer.close()
                raise OversizedError(f"the answer has more than {_MOST_BYTES} bytes")
            if self._clock() > deadline:
                answer.close()
                raise urllib3.exceptions.TimeoutError("the answer does not end")
        answer.release_conn()
        return b"".join(pieces)


def _check_id(document: Any, number: int) -> None:
    """Refuse an answer to another request.

    An error may have no id, because a server that cannot read a request does not know it (JSON-RPC
    2.0, section 5), and servers that limit requests do not read them.
    """
    if not isinstance(document, Mapping):
        return
    answered = document.get("id")
    if answered is None and document.get("error") is not None:
        return
    if answered != number or isinstance(answered, bool | float):
        raise WrongIdError("the answer has the id of another request")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait (RFC 9110, section 10.2.3)."""
    text = headers.get("Retry-After", "")
    try:
        return urllib3.Retry().parse_retry_after(text) if text else None
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return None


def _authorization(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is not None:
        names = unquote(parts.username), unquote(parts.password or "")
    else:
        names = get_netrc_auth(url) or ("", "")
    if not any(names):
        return {}
    return dict(urllib3.make_headers(basic_auth=":".join(names)))


def _pool(url: str) -> urllib3.PoolManager:
    environment = requests.Session().merge_environment_settings(url, {}, None, None, None)
    verify = environment["verify"]
    options: dict[str, Any] = {"maxsize": _CONNECTIONS}
    if verify is False:
        options["cert_reqs"] = "CERT_NONE"
    elif isinstance(verify, str):
        options["ca_certs"] = verify
    else:
        options["ca_certs"] = where()
    if is_loopback(urlsplit(url).hostname or ""):
        return urllib3.PoolManager(**options)
    proxy = select_proxy(url, get_environ_proxies(url))
    return _through(proxy, url, options) if proxy else urllib3.PoolManager(**options)


def _through(proxy: str, url: str, options: dict[str, Any]) -> urllib3.PoolManager:
    """Return connections through a proxy of the environment."""
    try:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        user, password = get_auth_from_url(proxy)
        names = f"{user}:{password}" if user else None
        headers = urllib3.make_headers(proxy_basic_auth=names)
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except ValueError:
        raise ChainUnavailable(
            f"{shown_url(url)} would be reached through the proxy {shown_url(proxy)} of the "
            "environment, which is not an HTTP proxy. Correct the environment's proxy, or add the "
            "host to NO_PROXY."
        ) from None
