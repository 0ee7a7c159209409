"""The two parts of a split adapter: shared ranks and one organization's private ranks.

A = [A_shared; A_own] and B = [B_shared | B_own], so that B A = B_shared A_shared + B_own A_own,
both times alpha / rank of the whole adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from rescind.core.split_settings import (
    Part,
    SplitSettings,
    part_shapes,
    rank_axis,
    trained_shapes,
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


def split_delta_shapes(
    parameters: ConsortiumParameters, settings: SplitSettings, organization: str, part: Part
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one part's delta, by qualified name: B, and A where it is trained."""
    owner = part_owner(organization, part)
    shapes = trained_shapes(parameters.shapes, settings, part, train_a=parameters.lora.train_a)
    return {qualify(owner, name): shape for name, shape in sorted(shapes.items())}


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


def part_owner(organization: str, part: Part) -> str:
    """Return the owner of a part's tensors in a delta."""
    return SHARED if part == "shared" else organization.lower()
