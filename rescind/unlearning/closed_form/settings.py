"""Settings that measurements and methods share. Importing them imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.core.errors import ConfigError
from rescind.core.positions import Positions


@dataclass(frozen=True)
class FisherMeasure:
    """How a Fisher is measured.

    Attributes:
        batch_size: Pairs whose mean loss is differentiated at once.
        prompt_too: Whether questions count too.
        label_free: Measure the importance for the size of the logits instead of the loss.
    """

    batch_size: int = 1
    prompt_too: bool = False
    label_free: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}. It must be at least 1.")

    def __str__(self) -> str:
        kind = "absolute gradient of squared logits" if self.label_free else "squared gradient"
        tokens = "whole texts" if self.prompt_too else "answers"
        return f"{kind}; batches of {self.batch_size}; {tokens}"


def moments_measure(positions: Positions) -> str:
    """Return the description of moments measured at some positions."""
    return f"A x; positions {positions}"
