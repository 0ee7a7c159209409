"""The processes that train one round together, as the training loop sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class Workers(Protocol):
    """The processes that run the same loop, each on its share of every batch."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """The number of processes."""
        ...

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Return every process's tensors, which have equal shapes, in the order of the ranks."""
        ...


class Alone:
    """A single process."""

    rank = 0
    size = 1

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Return this process's own tensors."""
        return [list(tensors)]
