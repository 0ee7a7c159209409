"""The RPC endpoints that a command asks."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rescind.core.errors import ConfigError

RPC_VARIABLE = "RESCIND_RPC"
AGREE_VARIABLE = "RESCIND_AGREE"


@dataclass(frozen=True)
class NamedEndpoints:
    """Endpoints of one chain.

    Attributes:
        urls: Their URLs, the preferred one first; empty if the command names none.
        agree: How many of them must give the same answers.
    """

    urls: tuple[str, ...]
    agree: int = 1

    @classmethod
    def of(cls, rpc: Sequence[str] | None) -> NamedEndpoints:
        """Return the endpoints of --rpc, or else of the environment.

        Args:
            rpc: The values of --rpc. A key in one of them is in the list of processes and in the
                shell's history, which is why there is a variable.

        Raises:
            ConfigError: The environment's number of endpoints that must agree is not a number.
        """
        words = list(rpc or [os.environ.get(RPC_VARIABLE, "")])
        # A URL may hold a comma, but not one before a scheme.
        parts = (part for word in words for part in re.split(r"\s+|,(?=\s*\w+://)", word))
        urls = tuple(part.strip(",") for part in parts if part.strip(","))
        return cls(urls, _agreement() if urls else 1)


def _agreement() -> int:
    text = os.environ.get(AGREE_VARIABLE, "").strip() or "1"
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise ConfigError(
            f"{AGREE_VARIABLE} is {text!r}. Set it to the number of endpoints that must agree."
        )
    return int(text)
