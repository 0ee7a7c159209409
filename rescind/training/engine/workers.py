"""The processes that train one round together, as the training loop sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class Workers(Protocol):
    """`rank` of `size` processes that all run the same loop on their share of each batch."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Everybody's tensors, which have the same shapes, in the order of the ranks."""
        ...


class Alone:
    rank = 0
    size = 1

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        return [list(tensors)]
