"""Reading requests: the key of an API, and a body of bounded size and time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path

from fastapi import Request

from rescind.core import demand_secret
from rescind.core.errors import ConfigError
from rescind.core.json_text import parse_json
from rescind.serving.asked import Limits
from rescind.serving.errors import ApiError, invalid

_LEAST_KEY = 16
"""Characters of a key. Shorter ones can be tried over a network."""


class ApiKeys:
    """The keys of which a request must show one.

    Args:
        keys: The keys; empty to ask for none.
    """

    def __init__(self, keys: Collection[str] = ()) -> None:
        self._hashes = [_hashed(key) for key in keys]

    @classmethod
    def read(cls, path: Path) -> ApiKeys:
        """Read a file with one key on each line. Empty lines and those with # are left out.

        Raises:
            FileModeRefused: Other users can read the file.
            ConfigError: The file cannot be read, has no key, or a key that is too short.
        """
        return cls(read_keys(path))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def check(self, authorization: str) -> None:
        """Check the header Authorization of a request.

        Raises:
            ApiError: It holds none of the keys.
        """
        if not self._hashes:
            return
        scheme, _, key = authorization.partition(" ")
        shown = _hashed(key.strip())
        # Every key is compared, so that the time does not say which one is close.
        matches = [hmac.compare_digest(shown, each) for each in self._hashes]
        if scheme.lower() != "bearer" or not any(matches):
            raise ApiError(
                401,
                "The API key is missing or wrong. Send the header 'Authorization: Bearer KEY'.",
                "invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )


def read_keys(path: Path) -> list[str]:
    """Return the keys of a file; see `ApiKeys.read`."""
    demand_secret(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {why}.") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{path} has no key. Write one on a line.")
    if any(len(key) < _LEAST_KEY or not key.isascii() or " " in key for key in keys):
        raise ConfigError(
            f"{path} has a key that is shorter than {_LEAST_KEY} characters, or that has a space or "
            "a character beyond ASCII. Draw one at random: openssl rand -hex 24"
        )
    return keys


def _hashed(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


async def read_json(request: Request, limits: Limits) -> object:
    """Return the JSON of a request's body.

    Raises:
        ApiError: It is too large, too slow, or not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page in a browser can send a form to any address, but not this type without being asked.
        raise ApiError(415, "Send the header 'Content-Type: application/json'.", "invalid_type")
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read(request, limits.body_bytes)
    except TimeoutError:
        raise ApiError(
            408, f"The body was not complete after {limits.body_seconds:.0f} s.", "body_too_slow"
        ) from None
    try:
        return parse_json(body)
    except ValueError as error:
        raise invalid(f"The body is not JSON: {error}.", code="invalid_json") from None


async def _read(request: Request, most: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The body has more than {most} bytes.", "body_too_large")
