"""Algorithms that a consortium may agree on, beside the server optimizer.

They are what a node adds to its local steps, and which of a round's updates are summed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rescind.core.frozen import Frozen


class ProximalRule(Frozen):
    """FedProx (Li et al. 2020, arXiv 1812.06127).

    Adds (mu / 2) ||w - w0||^2 to the loss, where w0 is what the round starts from.
    """

    name: Literal["proximal"] = "proximal"
    mu: Annotated[float, Field(ge=0, le=2**20)] = 0.01


class ScaffoldRule(Frozen):
    """SCAFFOLD (Karimireddy et al. 2020, arXiv 1910.06378), option II.

    It corrects the steps, not the gradient (rescind.training.rules.scaffold). Every member in a
    round trains all of `steps_per_round`.
    """

    name: Literal["scaffold"] = "scaffold"


ClientRule = Annotated[ProximalRule | ScaffoldRule, Field(discriminator="name")]


class KrumSelection(Frozen):
    """Sum only the update with the lowest Krum score (Blanchard et al. 2017, arXiv 1703.02757).

    Attributes:
        byzantine: How many bad updates to withstand. A round needs 2 x byzantine + 3 updates.
    """

    name: Literal["krum"] = "krum"
    byzantine: Annotated[int, Field(ge=0, le=62)]


class MultiKrumSelection(Frozen):
    """Sum the updates with the lowest Krum scores, in equal shares.

    Attributes:
        byzantine: How many bad updates to withstand.
        kept: How many updates to sum; all but byzantine + 2 by default.
    """

    name: Literal["multi-krum"] = "multi-krum"
    byzantine: Annotated[int, Field(ge=0, le=62)]
    kept: Annotated[int, Field(ge=1, le=128)] | None = None


def _selects(document: Any) -> Any:
    """Refuse the library's other selections, which are not sums with equal shares."""
    name = document.get("name") if isinstance(document, dict) else None
    if name in ("trimmed-mean", "coordinate-median"):
        raise ValueError(
            f"{name} is not a weighted sum of deltas, so the contract could not check it: "
            "use krum or multi-krum"
        )
    if name == "norm-clipping":
        raise ValueError(
            "norm-clipping gives unequal weights, but the contract asks for equal shares: "
            "use krum or multi-krum, and lower clip_norm to bound each delta"
        )
    return document


Selection = Annotated[
    KrumSelection | MultiKrumSelection, Field(discriminator="name"), BeforeValidator(_selects)
]
