"""Models as sums over registered deltas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import IntTensors
from rescind.core.layout import weights
from rescind.core.parameters import Layout
from rescind.core.totals import weighted_sum

Load = Callable[[str], IntTensors]
"""Returns the tensors of an artifact, by its id."""


@dataclass(frozen=True)
class Term:
    """One delta in a model.

    Attributes:
        round_id: The round in which it was registered; 0 for a counter-delta.
        organization: The address of its owner.
        artifact_id: The id of its bytes.
        weight: Its weight, in basis points.
        point_hash: The hash of its registered point; empty where it is not known.
        part: The part of the contribution that it is.
    """

    round_id: int
    organization: str
    artifact_id: str
    weight: int
    point_hash: str = ""
    part: int = 0


def adapter_totals(terms: Iterable[Term], load: Load) -> dict[str, NDArray[np.int64]]:
    """Return the sum of weight x delta over all terms; the same integers in any order.

    Deltas are loaded one at a time, so that memory stays at two adapters however many terms there
    are.
    """
    return weighted_sum((load(term.artifact_id), term.weight) for term in terms)


def without(terms: Sequence[Term], excluded: Collection[str], layout: Layout) -> list[Term]:
    """Return the terms of the remaining organizations, with each round weighted again for them.

    Counter-deltas (round 0) come first, in the order given, and keep their weight.

    Args:
        terms: The terms of a model.
        excluded: The addresses to leave out.
        layout: The layout, which decides the weights.
    """
    removed = {organization.lower() for organization in excluded}
    kept = [term for term in terms if term.organization.lower() not in removed]
    result = [term for term in kept if term.round_id == 0]
    of_rounds = sorted(
        (term for term in kept if term.round_id), key=lambda t: (t.round_id, t.organization.lower())
    )
    for _, group in groupby(of_rounds, key=lambda term: term.round_id):
        members = list(group)
        share = weights(layout, [term.organization for term in members])
        result += [replace(term, weight=share[term.organization]) for term in members]
    return result
