"""The agreed router of a model, solved from its summed statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rescind.core import STATISTICS, ConsortiumParameters, Totals, block
from rescind.core.router_statistics import REFERENCE_ROWS, ROUTER
from rescind.core.statistics_tensors import solvable_statistics
from rescind.training.routers.additive import AdditiveRouter


def agreed_router(
    parameters: ConsortiumParameters,
    totals: Totals,
    members: Mapping[str, int],
    reference: Mapping[str, NDArray[Any]],
) -> AdditiveRouter | None:
    """Return the router of a model; None if members agreed on none, or it holds no statistics.

    Args:
        parameters: What the consortium agreed on.
        totals: The model's tensors by qualified name. A caller that found the statistics not to
            open leaves them out.
        members: The member number of each organization in the sum, by address
            (`rescind.withdrawals.members_in_sum`).
        reference: The tensors of the agreed public reference.

    Raises:
        WrongReference: The reference is not the agreed one.
    """
    agreed, tensors = parameters.statistics, block(totals, STATISTICS)
    if agreed is None or agreed.router is None or not tensors:
        return None
    sums = solvable_statistics(agreed, tensors, len(members))[ROUTER]
    return AdditiveRouter(agreed.router, sums, members, reference[REFERENCE_ROWS])
