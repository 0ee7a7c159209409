"""The organizations whose statistics are in a model's sum."""

from __future__ import annotations

from rescind.contracts import ConsortiumReader
from rescind.core import STATISTICS, ConsortiumParameters


def members_in_sum(
    reader: ConsortiumReader, parameters: ConsortiumParameters, model_id: int
) -> dict[str, int] | None:
    """Return the member numbers of the organizations whose statistics are in a model, by address.

    Heads depend on how many there are where noise is agreed, and an agreed router on the numbers.
    Otherwise the chain is not asked, and the result is None.

    Args:
        reader: The consortium's public record.
        parameters: What the consortium agreed on.
        model_id: Number of the model.
    """
    agreed = parameters.statistics
    if agreed is None or (agreed.noise is None and agreed.router is None):
        return None
    entries = reader.content(model_id, parameters.part_of(STATISTICS).number)
    return {entry.organization.lower(): entry.member_number for entry in entries}
