"""A provider of JSON-RPC that misbehaves as public providers do, in front of a real node.

The modes can be combined, each with an amount and a rate, and their draws have a seed. The proxy
counts what it did and asserts nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.rpc_proxy import reading_modes, transport_modes, writing_modes
from tests.support.rpc_proxy.calls import Mode
from tests.support.rpc_proxy.server import COUNTS, Proxy, Server

__all__ = ["COUNTS", "MODES", "Mode", "Proxy", "Server", "make_modes", "rpc_proxy", "serving"]

_ORDER: tuple[type[Mode], ...] = (
    transport_modes.NoBatch,
    transport_modes.LimitExceeded,
    transport_modes.TooManyRequests,
    transport_modes.BadGateway,
    transport_modes.Html,
    transport_modes.Empty,
    transport_modes.Slow,
    transport_modes.CutJson,
    transport_modes.CutConnection,
    writing_modes.AnswerLost,
    writing_modes.RawLimit,
    writing_modes.No1559,
    writing_modes.MinimumTip,
    writing_modes.Vanish,
    writing_modes.AlreadyKnown,
    writing_modes.Underpriced,
    writing_modes.NonceBehind,
    writing_modes.NonceAhead,
    reading_modes.NoDevMethods,
    reading_modes.NoFeeHistory,
    reading_modes.LongExtraData,
    reading_modes.NoPending,
    reading_modes.NoSafe,
    reading_modes.NoFinalized,
    reading_modes.LogRange,
    reading_modes.LogResults,
    reading_modes.NoArchive,
    reading_modes.StaleHead,
    reading_modes.TwoBackEnds,
)
"""From the client to the node. A mode's own questions pass only through those after it."""

MODES = {mode.name: mode for mode in _ORDER}
"""All modes by name."""

_WORDS = re.compile(r"([a-z0-9-]+)(?:=([0-9.]+))?(?:@([0-9.]+))?")


def make_modes(words: Sequence[str], seed: int = 0) -> list[Mode]:
    """Return modes by their names, each as NAME, NAME=AMOUNT, NAME@RATE or NAME=AMOUNT@RATE.

    Raises:
        ValueError: A word is not the name of a mode.
    """
    chosen = {}
    for word in words:
        match = _WORDS.fullmatch(word)
        if match is None or match[1] not in MODES:
            raise ValueError(f"{word!r} is not a mode. Modes: {', '.join(MODES)}.")
        amount = None if match[2] is None else float(match[2])
        rate = 1.0 if match[3] is None else float(match[3])
        chosen[match[1]] = MODES[match[1]](rate, amount, seed)
    return [chosen[name] for name in MODES if name in chosen]


@contextmanager
def rpc_proxy(url: str, *words: str, seed: int = 0) -> Iterator[Proxy]:
    """Run the proxy in a thread.

    Args:
        url: URL of the node.
        words: Modes, as in `make_modes`.
        seed: Seed of the draws.
    """
    with serving(Proxy(url, make_modes(words, seed))) as proxy:
        yield proxy


@contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    """Let a proxy answer in a thread."""
    server = Server(proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
