"""Which logs a reader of events wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rescind.contracts.rpc import Log

Topics = Sequence[bytes | Sequence[bytes] | None]
"""For each place the wanted topic, alternatives, or None for any."""


@dataclass(frozen=True)
class LogFilter:
    """Which logs are wanted.

    Attributes:
        addresses: Contracts, EIP-55.
        topics: Wanted topics.
        first: First block.
        last: Last block.
    """

    addresses: Sequence[str]
    topics: Topics
    first: int
    last: int

    def accepts(self, log: Log) -> bool:
        """Return whether a log is wanted."""
        if log.address not in self.addresses or not self.first <= log.block <= self.last:
            return False
        for place, wanted in enumerate(self.topics):
            if wanted is None:
                continue
            alternatives = [wanted] if isinstance(wanted, bytes) else wanted
            if place >= len(log.topics) or log.topics[place] not in alternatives:
                return False
        return True

    def sql(self) -> tuple[str, list[object]]:
        """Return the condition and its values for a query of the table `logs`."""
        values: list[object] = [self.first, self.last, *self.addresses]
        parts = ["block BETWEEN ? AND ?", f"address IN ({placeholders(len(self.addresses))})"]
        for place, wanted in enumerate(self.topics):
            if wanted is not None:
                alternatives = [wanted] if isinstance(wanted, bytes) else list(wanted)
                parts.append(f"topic{place} IN ({placeholders(len(alternatives))})")
                values += alternatives
        return " AND ".join(parts), values


def placeholders(count: int) -> str:
    """Return SQL's marks for so many values."""
    return ", ".join("?" * count)
