"""SCAFFOLD's correction of local steps; `core.control_variates` computes the control variates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from rescind.core.control_variates import Control
from rescind.core.errors import TrainingError
from rescind.training.rules.rule import Rule


class Scaffold(Rule):
    """A rule that steps along g - c_i + c instead of g (Karimireddy et al. 2020, arXiv 1910.06378).

    Without `rate` the correction is added to the gradient, which is the paper's rule **for plain
    SGD without clipping**. An adaptive local optimizer (AdamW, the default here) does not move
    along the gradient, so what option II reads off a delta, delta / (K lr), is a mean *direction*
    of its steps, with entries near 1, where gradients are orders of magnitude smaller: added to the
    gradient it would drown it. With `rate`, the learning rate of each step, the correction is
    applied to the step instead, w <- w - rate(step) (c - c_i), apart from the optimizer as
    decoupled weight decay is. Under plain SGD the two are the same; under AdamW it is a heuristic
    in the right units, without the paper's guarantees.

    Args:
        server: c, by bare tensor name. A missing tensor is zero.
        own: c_i, by bare tensor name. A missing tensor is zero.
        rate: The learning rate of each step, from 0.
    """

    def __init__(
        self, server: Control, own: Control, rate: Callable[[int], float] | None = None
    ) -> None:
        self.rate = rate
        zero = np.zeros(())
        self._correction = {
            name: torch.from_numpy(server.get(name, zero) - own.get(name, zero))
            for name in sorted({*server, *own})
        }

    def after_backward(
        self,
        step: int,  # noqa: ARG002
        batch: Sequence[int],  # noqa: ARG002
        tensors: Mapping[str, torch.nn.Parameter],
    ) -> None:
        """Correct the gradients, when no rate was given."""
        if self.rate is not None:
            return
        for name, tensor in tensors.items():
            correction = self._of(name, tensor)
            if correction is not None:
                tensor.grad = correction if tensor.grad is None else tensor.grad + correction

    def after_step(
        self,
        step: int,
        batch: Sequence[int],  # noqa: ARG002
        tensors: Mapping[str, torch.nn.Parameter],
    ) -> None:
        """Correct the parameters, when a rate was given."""
        if self.rate is None:
            return
        with torch.no_grad():
            for name, tensor in tensors.items():
                correction = self._of(name, tensor)
                if correction is not None:
                    tensor.sub_(self.rate(step) * correction)

    def _of(self, name: str, tensor: torch.Tensor) -> torch.Tensor | None:
        correction = self._correction.get(name)
        if correction is None:
            return None
        if correction.shape != tensor.shape:
            raise TrainingError(
                f"The control variate of {name!r} has shape {tuple(correction.shape)}, and the "
                f"parameter has {tuple(tensor.shape)}. It belongs to another base model or rank."
            )
        return correction.to(tensor.device, tensor.dtype)
