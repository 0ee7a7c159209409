"""An RPC endpoint that passes calls on to a chain and changes some of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.rpc_proxy import Proxy, serving
from tests.support.rpc_proxy.calls import Call, Forward, Mode

Lie = Callable[[str, list[Any], Any], Any]
"""Method, parameters and the true result; returns the result that is told."""


class _Lying(Mode):
    name = "lying"

    def __init__(self, lie: Lie) -> None:
        super().__init__()
        self._lie = lie

    def answer(self, call: Call, forward: Forward) -> Any:
        return self._lie(call.method, list(call.params), forward(call))


@contextmanager
def lying_rpc(url: str, lie: Lie) -> Iterator[str]:
    """Run the endpoint.

    Args:
        url: URL of the honest node behind it.
        lie: Changes each answer.

    Yields:
        Its URL.
    """
    with serving(Proxy(url, [_Lying(lie)])) as proxy:
        yield proxy.url
