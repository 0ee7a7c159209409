"""The check of the values of a contribution, once its tensors are the agreed ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rescind.core.delta import check_norm
from rescind.core.layout import block
from rescind.core.parameters import ConsortiumParameters
from rescind.core.parts import STATISTICS
from rescind.core.statistics_tensors import check_statistics


def check_contributed(
    tensors: Mapping[str, NDArray[Any]],
    parameters: ConsortiumParameters,
    part: int,
    member: int,
) -> None:
    """Check that a delta is short, or that statistics can be the sums of rows.

    Args:
        tensors: The tensors of one part, by qualified name, as `expected_delta` has them.
        parameters: What the members agreed on.
        part: The part.
        member: The organization's member number.

    Raises:
        OutOfBounds: A delta is longer than agreed, or statistics have more rows or larger features.
        NotRowSums: Statistics are the sums of no rows.
    """
    if parameters.parts[part].rule != "latest":
        check_norm(tensors, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm)
    elif parameters.statistics is not None:
        check_statistics(block(tensors, STATISTICS), parameters.statistics, member)
