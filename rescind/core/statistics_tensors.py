"""The tensors of statistics: what one organization contributes, and the sums in a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import OutOfBounds, l2_norm
from rescind.core.hiding import HIDING, HIDING_BOUND, hiding_block
from rescind.core.layout import qualify
from rescind.core.parts import STATISTICS
from rescind.core.router_statistics import ROUTER
from rescind.core.statistics import GRAM, MOMENTS, RowStatistics, check
from rescind.core.statistics_noise import Posting, add_noise, lifted
from rescind.core.statistics_parameters import StatisticsParameters, tensor_name

Hide = Callable[[Mapping[str, NDArray[Any]]], NDArray[np.int32]]
"""Returns the hiding noise for tensors."""


def contributed_tensors(
    agreed: StatisticsParameters,
    rows: Mapping[str, RowStatistics],
    hide: Hide = lambda _: hiding_block(),
) -> dict[str, NDArray[Any]]:
    """Return the tensors that an organization contributes, by qualified name.

    Noise hides them in their digest: without it, a digest of few rows could be guessed.

    Args:
        agreed: What the members agreed on.
        rows: The organization's statistics by the names of `agreed.summed`. A missing one counts as
            without rows.
        hide: Returns the hiding noise for the other tensors; by default fresh noise.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for name, classes in agreed.summed.items():
        empty = {bare: np.zeros(shape, np.int64) for bare, shape in classes.shapes().items()}
        parts = rows[name].tensors() if name in rows else empty
        tensors |= {tensor_name(name, bare): value for bare, value in parts.items()}
    tensors[HIDING] = hide(tensors)
    dtype = np.int32 if agreed.dtype == "I32" else np.int64
    return {qualify(STATISTICS, name): tensors[name].astype(dtype) for name in sorted(tensors)}


def kept_statistics(
    agreed: StatisticsParameters, rows: Mapping[str, RowStatistics]
) -> dict[str, RowStatistics]:
    """Return the statistics of which an organization has enough rows."""
    return {
        name: statistics
        for name, statistics in rows.items()
        if statistics.rows >= agreed.summed[name].min_rows
    }


def with_noise(
    agreed: StatisticsParameters,
    rows: Mapping[str, RowStatistics],
    secret: bytes,
    posting: Posting,
) -> dict[str, RowStatistics]:
    """Return an organization's statistics with the agreed noise, the same for the same posting.

    Args:
        agreed: What the members agreed on.
        rows: The exact statistics by name.
        secret: The node's secret of 32 bytes for this consortium.
        posting: The posting.
    """
    return {
        name: add_noise(
            statistics, agreed.deviations(name), secret=secret, posting=posting, task=name
        )
        for name, statistics in rows.items()
    }


def solvable_statistics(
    agreed: StatisticsParameters, tensors: Mapping[str, NDArray[Any]], organizations: int
) -> dict[str, RowStatistics]:
    """Return summed statistics as heads and the router are solved from them, by name.

    Args:
        agreed: What the members agreed on.
        tensors: Tensors of a model's sum, by bare name.
        organizations: How many organizations are in the sum, by the chain.
    """
    every = named_statistics(agreed, tensors)
    if agreed.noise is None:
        return every
    return {
        name: lifted(statistics, agreed.tolerance(name), organizations)
        for name, statistics in every.items()
    }


def named_statistics(
    agreed: StatisticsParameters, tensors: Mapping[str, NDArray[Any]]
) -> dict[str, RowStatistics]:
    """Return the statistics of each task and of the router, by the names of `agreed.summed`.

    Args:
        agreed: What the members agreed on.
        tensors: Tensors of one organization or of a model's sum, by bare name.
    """
    return {
        name: RowStatistics.of_tensors(
            {bare: tensors[tensor_name(name, bare)] for bare in (GRAM, MOMENTS)}
        )
        for name in agreed.summed
    }


def check_statistics(
    tensors: Mapping[str, NDArray[Any]], agreed: StatisticsParameters, member: int
) -> None:
    """Check that an organization's tensors can be the sums of its rows.

    Args:
        tensors: The tensors by bare name, with the agreed shapes.
        agreed: What the members agreed on.
        member: The organization's member number.

    Raises:
        NotRowSums: They are the sums of no rows.
        OutOfBounds: There are more or fewer rows than agreed, larger features, or longer noise.
    """
    noise = l2_norm({HIDING: tensors[HIDING]})
    if noise > HIDING_BOUND:
        raise OutOfBounds(
            f"the hiding tensor has L2 norm {noise:.6g}, its bound is {HIDING_BOUND:.6g}"
        )
    for name, statistics in named_statistics(agreed, tensors).items():
        if name == ROUTER and agreed.router is not None:
            agreed.router.check_member(statistics, member, agreed.tolerance(name))
        else:
            check(statistics, agreed.tasks[name], agreed.tolerance(name))
