"""How many organizations are in a model's sum of statistics."""

from __future__ import annotations

from rescind.contracts import ConsortiumReader
from rescind.core import STATISTICS, ConsortiumParameters


def organizations_in_sum(
    reader: ConsortiumReader, parameters: ConsortiumParameters, model_id: int
) -> int | None:
    """Return how many organizations' statistics are in a model, by its content on chain.

    Heads depend on it only where noise is agreed. Otherwise the chain is not asked, and the result
    is None.

    Args:
        reader: The consortium's public record.
        parameters: What the consortium agreed on.
        model_id: Number of the model.
    """
    if parameters.statistics is None or parameters.statistics.noise is None:
        return None
    part = parameters.part_of(STATISTICS).number
    return len({entry.organization for entry in reader.content(model_id, part)})
