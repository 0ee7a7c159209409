"""The tokens of a pair on which something is measured."""

from __future__ import annotations

from typing import Literal

from rescind.core.errors import ConfigError

Positions = Literal["all", "answer", "last-prompt"]
"""Which tokens to measure: "all" that predict another; those that predict the "answer" and its end;
or "last-prompt", the prompt's last token, which predicts the answer's first."""

POSITIONS: tuple[Positions, ...] = ("all", "answer", "last-prompt")


def check_positions(positions: str) -> None:
    """Raise ConfigError unless `positions` is one of POSITIONS."""
    if positions not in POSITIONS:
        raise ConfigError(f"positions is {positions!r}. Use one of {', '.join(POSITIONS)}.")
