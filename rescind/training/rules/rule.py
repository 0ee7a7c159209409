"""What may change a training step from outside: terms of the loss, and corrections of the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch


class Rule:
    """Changes nothing; a rule overrides what it needs. `batch`: places of the examples in the data.

    `tensors` are the trainable LoRA parameters by bare name, in the order of their names.
    """

    def before_forward(
        self, step: int, batch: Sequence[int], tensors: Mapping[str, torch.nn.Parameter]
    ) -> None:
        """Before a batch goes through the model. `step` counts from 0."""

    def penalty(self, tensors: Mapping[str, torch.nn.Parameter]) -> torch.Tensor | None:  # noqa: ARG002
        """A term to add to the mean loss in nats a token, or None."""
        return None

    def after_backward(
        self, step: int, batch: Sequence[int], tensors: Mapping[str, torch.nn.Parameter]
    ) -> None:
        """When the step's gradients are complete, before they are clipped and applied."""

    def after_step(
        self, step: int, batch: Sequence[int], tensors: Mapping[str, torch.nn.Parameter]
    ) -> None:
        """When the optimizer has changed the parameters."""
