"""Keep secrets out of messages: URLs are shown by scheme and host alone.

Providers of Ethereum nodes put the API key into the path or the query of a URL, databases the
password before the host. Errors are logged, printed and pasted into reports, so no message may
hold either.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

_URL = re.compile(
    r"\b([a-zA-Z][a-zA-Z0-9+.-]*)://([^\s'\"<>()\[\]{},;|\\]*(?:\[[0-9a-fA-F:.]*\])?[^\s'\"<>(){},;|\\]*)"
)
# urllib3 names host and path apart: "Max retries exceeded with url: /v3/KEY (Caused by ...)".
_PATH = re.compile(r"(\burl: )[/?]\S*", re.IGNORECASE)
_KEY_VALUE = re.compile(
    r"\b(password|passwd|pwd|secret|token|api[_-]?key|authorization)(\s*[=:]\s*)"
    r"(\"[^\"]*\"|'[^']*'|(?:Bearer |Basic )?[^\s,;&)]+)",
    re.IGNORECASE,
)
_HIDDEN = "[hidden]"
_SHORTEST = 4
"""Parts of a URL with fewer characters, such as "v3", are words of their own in other texts."""


def shown_url(url: str) -> str:
    """Return scheme, host and port of a URL.

    Example:
        >>> shown_url("https://user:password@node.example:8545/v3/KEY?token=KEY")
        'https://node.example:8545'
        >>> shown_url("node.example/KEY")
        '[a URL without scheme and host]'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not parts.scheme:
        return "[a URL without scheme and host]"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def redact(text: str) -> str:
    """Return a text in which URLs have scheme and host alone, and values of secrets are hidden.

    Example:
        >>> redact("cannot reach https://node.example/v3/KEY: timed out")
        'cannot reach https://node.example: timed out'
        >>> redact("Max retries exceeded with url: /v3/KEY (Caused by ...)")
        'Max retries exceeded with url: [hidden] (Caused by ...)'
        >>> redact("token=abc, password: 'x y'")
        'token=[hidden], password: [hidden]'
    """
    text = _URL.sub(_shortened, text)
    text = _PATH.sub(rf"\1{_HIDDEN}", text)
    return _KEY_VALUE.sub(rf"\1\2{_HIDDEN}", text)


def hide_parts_of(url: str, text: str) -> str:
    """Return `redact(text)`, in which no secret part of one URL is left.

    A server may repeat the key of the URL in its answer, without the URL around it.

    Example:
        >>> hide_parts_of("https://node.example/v3/c0ffee", "project c0ffee is over its limit")
        'project [hidden] is over its limit'
    """
    for part in sorted(_secret_parts(url), key=len, reverse=True):
        text = text.replace(part, _HIDDEN)
    return redact(text)


def redacted(value: Any) -> Any:
    """Return a value of a log line, texts inside of lists and mappings redacted as well."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))


def _shortened(match: re.Match[str]) -> str:
    text = match.group(0)
    end = len(text.rstrip(".:!?"))
    if match.group(1).lower() == "sqlite":
        # The rest of it is the path of a file on this machine.
        return text
    return shown_url(text[:end]) + text[end:]


def _secret_parts(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return {url}
    user, _, host = parts.netloc.rpartition("@")
    words = [
        *re.split(r"[/?&=#]", f"{parts.path}?{parts.query}#{parts.fragment}"),
        *user.split(":"),
    ]
    longer = {word for word in words if len(word) >= _SHORTEST}
    tail = url.split(host, 1)[-1] if host else url
    whole = {part for part in (tail, user) if len(part) >= _SHORTEST}
    # A server may also repeat the header that user and password are sent in.
    encoded = {b64encode(unquote(user).encode()).decode()} if user else set()
    return {*longer, *map(unquote, longer), *whole, *encoded}
