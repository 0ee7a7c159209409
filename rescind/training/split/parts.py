"""The two parts of a split adapter: shared ranks and one organization's private ranks.

Research: no daemon uses this yet.

A = [A_shared; A_own] and B = [B_shared | B_own], so that B A = B_shared A_shared + B_own A_own,
both times alpha / rank of the whole adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    SHARED,
    ConsortiumParameters,
    FloatTensors,
    Totals,
    block,
    materialize,
    qualify,
)
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
    """

    shared_rank: int
    retain_share: float = 1.0
    shared_learning_rate: float | None = None

    def check(self, rank: int) -> None:
        """Check the settings for adapters of a rank. Raises ConfigError when they do not fit."""
        if not 1 <= self.shared_rank < rank:
            raise ConfigError(
                f"shared_rank is {self.shared_rank} of rank {rank}. Both parts need 1 or more."
            )
        if not 0 <= self.retain_share <= 1:
            raise ConfigError(f"retain_share is {self.retain_share}. It must be within 0..1.")
        if self.shared_learning_rate is not None and not 0 < self.shared_learning_rate <= 1:
            raise ConfigError(
                f"shared_learning_rate is {self.shared_learning_rate}. It must be above 0, at most "
                "1."
            )


@dataclass(frozen=True)
class SplitParts:
    """Both parts of an adapter, by bare name: A (part's rank, in), B (out, part's rank)."""

    shared: dict[str, NDArray[np.float32]]
    own: dict[str, NDArray[np.float32]]

    def joined(self) -> dict[str, NDArray[np.float32]]:
        """Return the adapter that both parts make."""
        return {
            name: np.concatenate([self.shared[name], self.own[name]], axis=rank_axis(name))
            for name in sorted(self.shared)
        }

    @classmethod
    def of(cls, joined: FloatTensors, shared_rank: int) -> SplitParts:
        """Split an adapter after its shared ranks."""
        cut = {name: np.split(v, [shared_rank], axis=rank_axis(name)) for name, v in joined.items()}
        return cls({n: v[0] for n, v in cut.items()}, {n: v[1] for n, v in cut.items()})


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


def split_delta_shapes(
    parameters: ConsortiumParameters, settings: SplitSettings, organization: str, part: Part
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one part's delta, by qualified name: B, and A where it is trained."""
    owner = part_owner(organization, part)
    trains_a = part == "own" and parameters.lora.train_a
    shapes = part_shapes(parameters.shapes, settings, part)
    return {
        qualify(owner, name): shape
        for name, shape in sorted(shapes.items())
        if trains_a or name.endswith(".lora_B")
    }


def split_parts(
    parameters: ConsortiumParameters, settings: SplitSettings, totals: Totals, organization: str
) -> SplitParts:
    """Return both parts of an organization's adapter, from totals with qualified names."""
    settings.check(parameters.lora.rank)
    return SplitParts(
        _part(parameters, settings, totals, SHARED, "shared"),
        _part(parameters, settings, totals, organization.lower(), "own"),
    )


def shared_alone(
    parameters: ConsortiumParameters, settings: SplitSettings, totals: Totals
) -> dict[str, NDArray[np.float32]]:
    """Return the adapter with the shared ranks alone; private ranks are zero."""
    settings.check(parameters.lora.rank)
    shapes = part_shapes(parameters.shapes, settings, "own")
    nothing = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    shared = _part(parameters, settings, totals, SHARED, "shared")
    return SplitParts(shared, nothing).joined()


def _part(
    parameters: ConsortiumParameters,
    settings: SplitSettings,
    totals: Totals,
    owner: str,
    part: Part,
) -> dict[str, NDArray[np.float32]]:
    return materialize(
        block(totals, owner),
        part_shapes(parameters.shapes, settings, part),
        parameters=parameters,
        owner=owner,
    )


def rank_axis(name: str) -> int:
    """Return the dimension of a LoRA tensor that counts ranks."""
    return 0 if name.endswith(".lora_A") else 1


def part_owner(organization: str, part: Part) -> str:
    """Return the owner of a part's tensors in a delta."""
    return SHARED if part == "shared" else organization.lower()
