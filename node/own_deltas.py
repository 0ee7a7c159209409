"""The node's own deltas in a model, from its own store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rescind.contracts import Entry
from rescind.core import StoreMissing, Term, adapter_totals
from rescind.node.session import Session
from rescind.node.withdrawal_facts import own_artifacts


def own_terms(session: Session, entries: Sequence[Entry]) -> list[Term]:
    """Return the node's own entries of a content, with the artifacts in its own store.

    Raises:
        StoreMissing: The node's journal has no delta with an entry's point.
    """
    artifacts = own_artifacts(session.journal)
    own = [entry for entry in entries if entry.organization == session.me]
    missing = [entry for entry in own if entry.point_hash not in artifacts]
    if missing:
        raise StoreMissing(
            f"your delta of round {missing[0].round_id} is not in the node's journal. Restore the "
            "state folder from a backup."
        )
    return [
        Term(e.round_id, e.organization, artifacts[e.point_hash], e.weight, e.point_hash)
        for e in own
    ]


def own_totals(session: Session, model_id: int) -> dict[str, Any]:
    """Return the weighted sum of the node's own deltas in a model, from its own store."""
    entries = session.consortium.content(model_id)
    return adapter_totals(own_terms(session, entries), session.store.load)
