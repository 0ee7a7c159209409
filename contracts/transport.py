"""JSON-RPC over HTTP.

requests reads the environment and the netrc file again for every request, which takes as long as
the request to a node near by. Here they are read once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from certifi import where
from requests.utils import get_environ_proxies, get_netrc_auth, select_proxy

from rescind.contracts.errors import ChainUnavailable
from rescind.core.json_text import parse_json
from rescind.core.redaction import shown_url

_TIMEOUT_SECONDS = 60.0
_CONNECTIONS = 16
"""Connections that are kept open, one for each thread that asks at the same time."""


class StatusError(urllib3.exceptions.HTTPError):
    """The status of an HTTP answer is not one of success."""


class Transport(Protocol):
    """Sends JSON-RPC requests to a node."""

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        """Return the JSON document with which the node answers.

        Raises:
            urllib3.exceptions.HTTPError: There is no answer.
            ValueError: The answer is not JSON.
        """


class HttpTransport:
    """Requests to a URL, over connections that stay open.

    Proxies, certificate authorities and passwords of the environment are honoured, as curl and
    requests honour them.

    Args:
        url: The URL, which may hold a user and a password.

    Raises:
        ChainUnavailable: It is not a URL.
    """

    def __init__(self, url: str) -> None:
        self._numbers = itertools.count(1)
        try:
            parts = urlsplit(url)
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
        document = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": method,
            "params": list(parameters),
        }
        answer = self._pool.request(
            "POST",
            self._url,
            body=json.dumps(document).encode(),
            headers=self._headers,
            timeout=_TIMEOUT_SECONDS,
            retries=False,
            redirect=False,
        )
        if not 200 <= answer.status < 300:
            raise StatusError(f"status {answer.status}")
        return parse_json(answer.data)


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
    proxy = select_proxy(url, get_environ_proxies(url))
    return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
