"""Keeping some of the trainable tensors where they are for a round."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch

from rescind.training.rules.rule import Rule


class Freeze(Rule):
    """The named tensors get no gradient, so that no optimizer moves them by a bit."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)

    def after_backward(
        self,
        step: int,  # noqa: ARG002
        batch: Sequence[int],  # noqa: ARG002
        tensors: Mapping[str, torch.nn.Parameter],
    ) -> None:
        for name in self.names & set(tensors):
            tensors[name].grad = None
