"""What a model is made of, as a sum over registered deltas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import IntTensors, weighted_sum
from rescind.core.layout import weights
from rescind.core.parameters import Layout

Load = Callable[[str], IntTensors]


@dataclass(frozen=True)
class Term:
    """One delta in a model: its artifact, its weight in basis points, its digest's root."""

    round_id: int
    organization: str
    artifact_id: str
    weight: int
    digest_root: str = ""


def adapter_totals(terms: Iterable[Term], load: Load) -> dict[str, NDArray[np.int64]]:
    """Sum of weight x delta over all terms; the same integers in any order.

    Deltas are loaded one at a time, so memory stays at two adapters whatever the history.
    """
    return weighted_sum((load(term.artifact_id), term.weight) for term in terms)


def without(terms: Sequence[Term], excluded: Collection[str], layout: Layout) -> list[Term]:
    """The terms of everybody else, each round re-weighted by the rule for who remains.

    Counter-deltas (round 0) come first, in the order given, and keep their weight.
    """
    gone = {organization.lower() for organization in excluded}
    kept = [term for term in terms if term.organization.lower() not in gone]
    result = [term for term in kept if term.round_id == 0]
    of_rounds = sorted(
        (term for term in kept if term.round_id), key=lambda t: (t.round_id, t.organization.lower())
    )
    for _, group in groupby(of_rounds, key=lambda term: term.round_id):
        members = list(group)
        share = weights(layout, [term.organization for term in members])
        result += [replace(term, weight=share[term.organization]) for term in members]
    return result
