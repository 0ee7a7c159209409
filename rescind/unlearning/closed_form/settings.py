"""What is measured where: the settings that measuring and methods share. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rescind.core.errors import ConfigError

Positions = Literal["all", "answer", "last-prompt"]
"""Of which tokens: every one that predicts another; those that predict the answer's and its end; the
prompt's last one, which predicts the answer's first."""

POSITIONS: tuple[Positions, ...] = ("all", "answer", "last-prompt")


def check_positions(positions: str) -> None:
    if positions not in POSITIONS:
        raise ConfigError(f"positions is {positions!r}: it is one of {', '.join(POSITIONS)}")


@dataclass(frozen=True)
class FisherMeasure:
    """`batch_size`: pairs whose mean loss a gradient is of. `prompt_too`: questions count as well.
    `label_free`: importance of the size of the logits rather than of the loss."""

    batch_size: int = 1
    prompt_too: bool = False
    label_free: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}: it is at least 1")

    def __str__(self) -> str:
        kind = "absolute gradient of squared logits" if self.label_free else "squared gradient"
        tokens = "whole texts" if self.prompt_too else "answers"
        return f"{kind}; batches of {self.batch_size}; {tokens}"


def moments_measure(positions: Positions) -> str:
    return f"A x; positions {positions}"
