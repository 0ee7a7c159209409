"""Freezing: keeping some trainable tensors unchanged for a round."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from rescind.training.rules.rule import Rule


class Freeze(Rule):
    """A rule that removes the gradients of named tensors, so no optimizer changes a bit of them."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)

    def after_backward(
        self,
        step: int,  # noqa: ARG002
        batch: Sequence[int],  # noqa: ARG002
        tensors: Mapping[str, torch.nn.Parameter],
    ) -> None:
        """Remove the gradients of the frozen tensors."""
        for name in self.names & set(tensors):
            tensors[name].grad = None
