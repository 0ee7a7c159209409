"""The providers of the campaign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Each mode with the rate and the amount that a story of a minute or two meets often.
_ANY_CALL = (
    "limit-exceeded@0.2",
    "429=1@0.1",
    "502@0.2",
    "html@0.2",
    "empty@0.2",
    "slow=1@0.1",
    "cut-json@0.2",
    "cut-connection@0.2",
)
_SOME_CALLS = (
    "no-batch",
    "answer-lost@0.5",
    "raw-limit",
    "no-1559",
    "minimum-tip=25",
    "vanish@0.2",
    "already-known@0.5",
    "nonce-behind@0.3",
    "nonce-ahead@0.3",
    "no-fee-history",
    "long-extra-data",
    "pending",
    "safe",
    "finalized",
    "log-range=10",
    "log-results=5",
    "no-archive=16",
)
# A head that lags shows the newest transaction only if blocks come without one, and a transaction
# counts as stuck only when blocks came that did not take it.
_IN_TIME = ("underpriced@0.1", "stale-head=2", "two-back-ends=1")


@dataclass(frozen=True)
class Case:
    """One provider.

    Attributes:
        name: The name of its result.
        modes: How it misbehaves, as in tests.support.rpc_proxy.
        chain: The program behind it.
        block_seconds: Seconds between blocks; 0 for a block with each transaction.
    """

    name: str
    modes: tuple[str, ...] = ()
    chain: Literal["anvil", "hardhat"] = "anvil"
    block_seconds: int = 0

    def arguments(self, folder: Path) -> dict[str, object]:
        """Return the arguments of the story that is played."""
        return {
            "folder": str(folder),
            "modes": self.modes,
            "chain": self.chain,
            "block_seconds": self.block_seconds,
        }


def mixture(rate: float) -> tuple[str, ...]:
    """Return all modes at one rate, which those that may hit any call share."""
    shared = {mode: rate / len(_ANY_CALL) for mode in _ANY_CALL}
    rates = shared | dict.fromkeys((*_SOME_CALLS, *_IN_TIME), rate)
    return tuple(f"{mode.partition('@')[0]}@{each}" for mode, each in rates.items())


def cases() -> Iterator[Case]:
    """Yield the cases in the order in which they are shown."""
    yield Case("plain")
    yield Case("plain on Hardhat", chain="hardhat")
    for mode in (*_ANY_CALL, *_SOME_CALLS):
        yield Case(_name(mode), (mode,))
    for mode in _IN_TIME:
        yield Case(_name(mode), (mode,), block_seconds=1)
    yield Case("mixture", mixture(0.05), block_seconds=1)


def _name(mode: str) -> str:
    return mode.partition("@")[0].partition("=")[0]
