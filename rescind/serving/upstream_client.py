"""Calls of a server behind this one: its list of models, its adapters, and completions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from rescind.core.errors import ConfigError
from rescind.core.redaction import shown_url
from rescind.serving.errors import ApiError, UpstreamFailed

_ADMIN_SECONDS = 120.0
"""To load an adapter takes as long as to read it from a disk."""
_LONGEST_LINE = 2**20
_TIMEOUT = httpx2.Timeout(120.0, connect=10.0)
"""Seconds between two pieces of an answer; a busy server lets a request wait."""


class UpstreamClient:
    """A client of an OpenAI-compatible server with vLLM's calls for adapters.

    Args:
        url: Its address, with or without /v1 at the end.
        key: Its API key; empty for none.

    Raises:
        ConfigError: The URL is not one of HTTP.
    """

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--upstream {shown_url(url)} is not a URL of HTTP.")
        self._root = url.rstrip("/").removesuffix("/v1")
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self.shown = shown_url(url)

    def models(self) -> list[dict[str, Any]]:
        """Return the models that it lists.

        Raises:
            UpstreamFailed: It cannot be reached, or does not answer with a list.
        """
        document = self._call("GET", "/v1/models")
        try:
            return [card for card in json.loads(document)["data"] if isinstance(card["id"], str)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UpstreamFailed(f"{self.shown} does not answer with a list of models.") from error

    def load(self, name: str, path: str) -> None:
        """Let it load an adapter.

        Args:
            name: The name by which requests choose the adapter.
            path: Its folder, as that server sees it.

        Raises:
            UpstreamFailed: It does not do so.
        """
        self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})

    def unload(self, name: str) -> None:
        """Let it remove an adapter from memory.

        Raises:
            UpstreamFailed: It does not do so.
        """
        self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        try:
            response = httpx2.request(
                method, self._root + path, json=body, headers=self._headers, timeout=_ADMIN_SECONDS
            )
        except httpx2.HTTPError as error:
            raise UpstreamFailed(
                f"{self.shown} cannot be reached ({type(error).__name__}). Is it started?"
            ) from None
        if response.status_code != 200:
            advice = (
                " vLLM has these calls when it is started with --enable-lora and with "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, rescind serve with --accept-adapters."
                if response.status_code in (404, 405) and "lora" in path
                else ""
            )
            raise UpstreamFailed(
                f"{self.shown} answers {path} with HTTP {response.status_code}: "
                f"{_words(response.text)}{advice}"
            )
        return str(response.text)

    @asynccontextmanager
    async def completion(self, body: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Any]]:
        """Ask for a completion, and yield its pieces as they come, as JSON.

        Raises:
            ApiError: The server refuses or cannot be reached.
        """
        url = f"{self._root}/v1/completions"
        async with httpx2.AsyncClient(timeout=_TIMEOUT, headers=self._headers) as client:
            try:
                async with client.stream("POST", url, json=body) as response:
                    if response.status_code != 200:
                        raise _refused(response.status_code, (await response.aread()).decode())
                    yield _documents(response.aiter_bytes())
            except httpx2.HTTPError as error:
                raise ApiError(
                    502,
                    f"The server behind this one cannot be reached ({type(error).__name__}).",
                    "upstream_failed",
                ) from None


async def _documents(chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """Yield the JSON of each server-sent event up to [DONE]."""
    async for line in _lines(chunks):
        text = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
        if text == b"[DONE]":
            return
        if text:
            try:
                yield json.loads(text)
            except (ValueError, RecursionError):
                raise _nonsense() from None


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines. Other characters that end a line in Unicode may be inside of a JSON text."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > _LONGEST_LINE:
            raise _nonsense()
    yield rest


def _nonsense() -> ApiError:
    return ApiError(502, "The server behind this one sends no answer of OpenAI's form.", "upstream")


def _refused(status: int, text: str) -> ApiError:
    words = _words(text)
    if status == 400:
        return ApiError(400, f"The server behind this one refuses: {words}", "upstream_refused")
    if status == 404:
        return ApiError(
            503,
            "The server behind this one does not have the model any more. It is loaded again at "
            "the next look at the chain.",
            "upstream_failed",
        )
    if status in (429, 503):
        return ApiError(status, f"The server behind this one is busy: {words}", "upstream_busy")
    return ApiError(
        502, f"The server behind this one answers with HTTP {status}: {words}", "upstream_failed"
    )


def _words(text: str) -> str:
    """Return the message of an error, in whichever form a server gives it."""
    try:
        document = json.loads(text)
        error = document.get("error", document)
        message = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError, RecursionError):
        message = text
    return " ".join(str(message).split())[:300]


def piece_of(document: Any) -> tuple[str, str | None]:
    """Return the text of a piece of a completion, and why it ends, if it does.

    Raises:
        ApiError: It is an error, or not a piece.
    """
    if isinstance(document, dict) and document.get("error"):
        words = _words(json.dumps(document))
        raise ApiError(502, f"The server behind this one failed: {words}", "upstream_failed")
    try:
        choices: Sequence[Any] = document["choices"]
        if not choices:
            return "", None
        return str(choices[0].get("text") or ""), choices[0].get("finish_reason")
    except (KeyError, TypeError, AttributeError, IndexError):
        raise _nonsense() from None
