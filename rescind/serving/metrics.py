"""Counts of a server in the text form of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter


class Metrics:
    """Counts that threads may add to together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._tokens: Counter[str] = Counter()

    def request(self, route: str, status: int) -> None:
        """Count a request that was answered."""
        with self._lock:
            self._requests[route, status] += 1

    def tokens(self, prompt: int, completion: int) -> None:
        """Count the tokens of an answer."""
        with self._lock:
            self._tokens.update(prompt=prompt, completion=completion)

    def text(self, gauges: dict[str, float]) -> str:
        """Return all counts, with gauges by name."""
        with self._lock:
            requests, tokens = sorted(self._requests.items()), sorted(self._tokens.items())
        lines = ["# TYPE rescind_serve_requests_total counter"]
        lines += [
            f'rescind_serve_requests_total{{route="{route}",status="{status}"}} {count}'
            for (route, status), count in requests
        ]
        lines.append("# TYPE rescind_serve_tokens_total counter")
        lines += [f'rescind_serve_tokens_total{{kind="{kind}"}} {n}' for kind, n in tokens]
        for name, value in gauges.items():
            lines += [f"# TYPE rescind_serve_{name} gauge", f"rescind_serve_{name} {value:g}"]
        return "\n".join([*lines, ""])
