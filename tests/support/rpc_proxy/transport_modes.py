"""Faults of the way between a node and its client."""

from __future__ import annotations

import time
from typing import Any

from tests.support.rpc_proxy.calls import Broken, Call, Cut, Forward, Mode, Refusal

_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>%s</title></head>\n"
    b"<body><center><h1>%s</h1></center><hr><center>cloudflare</center></body></html>\n"
)
_HTML = {"Content-Type": "text/html; charset=utf-8"}


class InsteadOfAnAnswer(Mode):
    """Answers some calls without asking the node."""

    def answer(self, call: Call, forward: Forward) -> Any:
        if self.hits(call):
            self.count()
            raise self.fault()
        return forward(call)

    def fault(self) -> Exception:
        """Return what comes instead."""
        raise NotImplementedError


class LimitExceeded(InsteadOfAnAnswer):
    """A rate limit as an error of JSON-RPC, in the words of several providers."""

    name = "limit-exceeded"
    words = (
        (-32005, "limit exceeded", 200),
        (-32005, "daily request count exceeded, request rate limited", 200),
        (-32005, "project ID request rate exceeded", 429),
        (-32007, "50/second request limit reached - reduce calls per second", 200),
        (-32016, "over rate limit", 200),
        (429, "Your app has exceeded its compute units per second capacity.", 429),
    )

    def fault(self) -> Exception:
        code, message, status = self.drawn(self.words)
        return Refusal(code, message, status=status)


class TooManyRequests(InsteadOfAnAnswer):
    """HTTP 429, with `amount` seconds in Retry-After."""

    name = "429"
    default = 1

    def fault(self) -> Exception:
        return Broken(b"Too Many Requests\n", 429, {"Retry-After": f"{self.amount:.0f}"})


class BadGateway(InsteadOfAnAnswer):
    """HTTP 502 with a page."""

    name = "502"

    def fault(self) -> Exception:
        return Broken(_PAGE % (b"502 Bad Gateway", b"502 Bad Gateway"), 502, _HTML)


class Html(InsteadOfAnAnswer):
    """A page with HTTP 200."""

    name = "html"

    def fault(self) -> Exception:
        return Broken(_PAGE % (b"Just a moment...", b"Checking your browser"), 200, _HTML)


class Empty(InsteadOfAnAnswer):
    """HTTP 200 without a body."""

    name = "empty"

    def fault(self) -> Exception:
        return Broken()


class CutJson(Mode):
    """A complete HTTP answer with the beginning of the JSON."""

    name = "cut-json"

    def answer(self, call: Call, forward: Forward) -> Any:
        result = forward(call)
        if self.hits(call):
            self.count()
            raise Cut(result, closed=False)
        return result


class CutConnection(Mode):
    """A connection that is reset in the middle of the answer."""

    name = "cut-connection"

    def answer(self, call: Call, forward: Forward) -> Any:
        result = forward(call)
        if self.hits(call):
            self.count()
            raise Cut(result, closed=True)
        return result


class Slow(Mode):
    """An answer that comes after `amount` seconds."""

    name = "slow"
    default = 2

    def answer(self, call: Call, forward: Forward) -> Any:
        if self.hits(call):
            self.count()
            time.sleep(self.amount)
        return forward(call)


class NoBatch(Mode):
    """A list of requests is refused: `Proxy` asks `check_batch` before it takes one apart."""

    name = "no-batch"

    def answer(self, call: Call, forward: Forward) -> Any:
        return forward(call)

    def check_batch(self) -> None:
        """Refuse a list of requests."""
        if self.hits(Call("")):
            raise self.refuse(-32600, "batch requests are not supported")
