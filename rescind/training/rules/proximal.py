"""FedProx: hold training near the model that the round starts from."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from rescind.core import FloatTensors
from rescind.core.errors import ConfigError, TrainingError
from rescind.training.rules.rule import Rule


class Proximal(Rule):
    """A rule that adds (mu / 2) ||w - w0||^2 to the loss (Li et al. 2020, arXiv 1812.06127).

    The norm is over all trainable tensors together.

    Args:
        start: w0, the round's LoRA tensors by bare name, as `train_round` takes them.
        mu: 0 is plain training. The paper tunes it over 0.001 to 1.

    Raises:
        ConfigError: mu is negative.
    """

    def __init__(self, start: FloatTensors, mu: float = 0.01) -> None:
        if not mu >= 0:
            raise ConfigError(f"The proximal term's mu is {mu}. It must be 0 or more.")
        self.mu = mu
        self._start = {name: torch.from_numpy(value.copy()) for name, value in start.items()}

    def penalty(self, tensors: Mapping[str, torch.nn.Parameter]) -> torch.Tensor | None:
        """Return the proximal term, or None for mu = 0."""
        missing = sorted(set(tensors) - set(self._start))
        if missing:
            raise TrainingError(
                f"The proximal term has no starting point for {missing[0]!r}. Give it all tensors "
                "that the round starts from."
            )
        if self.mu == 0 or not tensors:
            return None
        squares = [
            (tensor - self._start[name].to(tensor.device)).square().sum()
            for name, tensor in tensors.items()
        ]
        return self.mu / 2 * torch.stack(squares).sum()
