"""The terms of a model's sum: entries on chain with the artifacts behind them."""

from __future__ import annotations

from collections.abc import Iterable

from rescind.contracts import ConsortiumReader, Entry
from rescind.core import Term


def terms_of(reader: ConsortiumReader, entries: Iterable[Entry]) -> list[Term]:
    """Return the contribution behind each entry, with its weight.

    Args:
        reader: The public record.
        entries: Entries of `content` or `contents`.

    Raises:
        ContractsMissing: No event registers such a point.
    """
    listed = list(entries)
    return [
        Term(
            entry.round_id,
            entry.organization,
            contribution.parts.artifact_ids[entry.part],
            entry.weight,
            entry.point_hash,
            entry.part,
        )
        for entry, contribution in zip(listed, reader.registered(listed), strict=True)
    ]
