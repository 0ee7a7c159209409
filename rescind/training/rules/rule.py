"""The interface of client rules, which change training steps from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

Tensors = Mapping[str, torch.nn.Parameter]


class Rule:
    """A rule that changes nothing. Subclasses override the hooks they need.

    In every hook, `step` counts from 0, `batch` holds the indices of the step's examples in the
    data, and `tensors` are the trainable LoRA parameters by bare name, sorted by name.
    """

    def before_forward(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run before a batch goes through the model."""

    def penalty(self, tensors: Tensors) -> torch.Tensor | None:  # noqa: ARG002
        """Return a term to add to the mean loss in nats a token, or None."""
        return None

    def after_backward(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run when the step's gradients are complete, before they are clipped and applied."""

    def after_step(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run when the optimizer has changed the parameters."""


@dataclass(frozen=True)
class Rules:
    """Several rules, applied in order at each hook of a training loop."""

    rules: Sequence[Rule] = ()

    def before_forward(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run each rule before a batch goes through the model."""
        for rule in self.rules:
            rule.before_forward(step, batch, tensors)

    def penalties(self, tensors: Tensors) -> list[torch.Tensor]:
        """Return the terms to add to the mean loss, from the rules that have one."""
        terms = (rule.penalty(tensors) for rule in self.rules)
        return [term for term in terms if term is not None]

    def after_backward(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run each rule when the step's gradients are complete."""
        for rule in self.rules:
            rule.after_backward(step, batch, tensors)

    def after_step(self, step: int, batch: Sequence[int], tensors: Tensors) -> None:
        """Run each rule when the optimizer has changed the parameters."""
        for rule in self.rules:
            rule.after_step(step, batch, tensors)
