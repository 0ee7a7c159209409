"""Outcome of a consortium with a misbehaving provider, beside that of one with a good provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

FILLER = "fills a gap"
"""An empty transfer to oneself, in place of a nonce that a provider left out."""
VARYING = frozenset({"Anchors.anchor", FILLER})
"""Calls whose number depends on the provider and on the times at which daemons look."""
ANYONE = frozenset(
    {
        "Models.fold",
        "Models.sum",
        "Rounds.closeCommits",
        "Rounds.closeReveals",
        "Withdrawals.close",
    }
)
"""Functions that anyone may call, so that another account may do what one is late with."""


@dataclass
class Outcome:
    """Outcome of a consortium.

    Attributes:
        modes: How the provider misbehaved.
        problem: Why it did not finish; empty if it did.
        seconds: From the start of the daemons to the end of the last command.
        commands: Exit status of each command.
        daemons: Exit status of each daemon; a daemon that had to be stopped ends with 0.
        late: Withdrawals that became late.
        net: By account, what it gained or paid except for gas, in wei.
        sent: By account and function, the transactions that were mined and succeeded.
        reverted: By account and function, those that the contracts reverted.
        repeated: Events that are on the chain twice.
        events_missing: Events that `rescind audit events` left out.
        faults: What the provider did.
    """

    modes: list[str]
    chain: str
    block_seconds: int
    seed: int
    problem: str = ""
    seconds: float = 0.0
    commands: dict[str, int] = field(default_factory=dict)
    daemons: dict[str, int | None] = field(default_factory=dict)
    late: int = 0
    net: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    reverted: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    events_missing: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    def lost(self, plain: Outcome) -> list[str]:
        """Return what the plain run sent or paid more often."""
        return _surplus(plain.sent, self.sent)

    def doubled(self, plain: Outcome) -> list[str]:
        """Return what this run sent or paid more often than the plain one, or twice."""
        return [*_surplus(self.sent, plain.sent), *self.repeated]

    def paid_otherwise(self, plain: Outcome) -> list[str]:
        """Return the accounts that gained or paid another amount than in the plain run."""
        return [account for account in plain.net if self.net.get(account) != plain.net[account]]

    def failures(self, plain: Outcome) -> list[str]:
        """Return everything that must not happen under any provider."""
        return [
            *([self.problem] if self.problem else []),
            *(f"{name} exits with {code}" for name, code in self.commands.items() if code),
            *(f"{name} ended with {code}" for name, code in self.daemons.items() if code != 0),
            *([f"{self.late} withdrawals late"] if self.late else []),
            *(f"lost: {each}" for each in self.lost(plain)),
            *(f"doubled: {each}" for each in self.doubled(plain)),
            *(f"balance of {account}" for account in self.paid_otherwise(plain)),
            *([f"{self.events_missing} events missing"] if self.events_missing else []),
        ]


def _surplus(more: Mapping[str, int], less: Mapping[str, int]) -> list[str]:
    """Return what `more` counts higher, except what varies."""
    return sorted(_calls(more) - _calls(less))


def _calls(sent: Mapping[str, int]) -> Counter[str]:
    """Count by account and function; by function alone where anyone may call."""
    calls: Counter[str] = Counter()
    for name, count in sent.items():
        function = name.partition(" ")[2]
        if function not in VARYING:
            calls[function if function in ANYONE else name] += count
    return calls
