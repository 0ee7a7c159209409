"""How an adapter of a split coupling is divided into shared ranks and private ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rescind.core.errors import ConfigError

Part = Literal["shared", "own"]
PARTS: tuple[Part, ...] = ("shared", "own")


@dataclass(frozen=True)
class SplitSettings:
    """How an adapter is split.

    Attributes:
        shared_rank: How many of the consortium's ranks are shared. The rest are private.
        retain_share: The share of the public data that trains in retain mode in each pass, 0..1. At
            1, and with nothing uncertain, the shared ranks do not depend on revocable data at all.
            Below it they do, by way of the private ranks in the forward pass of default steps. SGTM
            used 0.1.
        shared_learning_rate: None for the consortium's.
        open_share: The share of a round's steps on public data, between 0 and 1; the rest are on
            revocable data. An organization without one of the two leaves out its steps.
    """

    shared_rank: int
    retain_share: float = 1.0
    shared_learning_rate: float | None = None
    open_share: float = 0.5

    def check(self, rank: int) -> None:
        """Check the settings for adapters of a rank. Raises ConfigError when they do not fit."""
        if not 1 <= self.shared_rank < rank:
            raise ConfigError(
                f"shared_rank is {self.shared_rank} of rank {rank}. Both parts need 1 or more."
            )
        if not 0 <= self.retain_share <= 1:
            raise ConfigError(f"retain_share is {self.retain_share}. It must be within 0..1.")
        if not 0 < self.open_share < 1:
            raise ConfigError(f"open_share is {self.open_share}. It must be above 0 and below 1.")
        if self.shared_learning_rate is not None and not 0 < self.shared_learning_rate <= 1:
            raise ConfigError(
                f"shared_learning_rate is {self.shared_learning_rate}. It must be above 0, at most "
                "1."
            )

    def steps(self, steps: int) -> tuple[int, int]:
        """Divide a round's steps into those on public and those on revocable data, 1 or more each.

        Example:
            >>> SplitSettings(shared_rank=4).steps(80)
            (40, 40)
        """
        opened = max(1, round(steps * self.open_share))
        return opened, max(1, steps - opened)


def part_shapes(
    shapes: Mapping[str, tuple[int, ...]], settings: SplitSettings, part: Part
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one part's tensors, by bare name, from those of the whole adapter."""
    result = {}
    for name, shape in shapes.items():
        axis = rank_axis(name)
        rank = settings.shared_rank if part == "shared" else shape[axis] - settings.shared_rank
        result[name] = (*shape[:axis], rank, *shape[axis + 1 :])
    return result


def trained_shapes(
    shapes: Mapping[str, tuple[int, ...]], settings: SplitSettings, part: Part, *, train_a: bool
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a part trains: B, and A of the private ranks if it is trained.

    A of the shared ranks stays at its start, so that averages of B are averages of the products.
    """
    trains_a = part == "own" and train_a
    return {
        name: shape
        for name, shape in part_shapes(shapes, settings, part).items()
        if trains_a or name.endswith(".lora_B")
    }


def rank_axis(name: str) -> int:
    """Return the dimension of a LoRA tensor that counts ranks."""
    return 0 if name.endswith(".lora_A") else 1
