"""Weights and exact sums of deltas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.contracts.reference.records import Part

Tensors = Mapping[str, NDArray[np.int64]]


def shares(shared: bool, organizations: Sequence[str]) -> dict[str, int]:
    """The weights of one round's organizations."""
    ordered = sorted(organizations, key=str.lower)
    count = len(ordered)
    if not shared:
        return dict.fromkeys(ordered, 10_000)
    return {who: (10_000 + count - 1 - place) // count for place, who in enumerate(ordered)}


def weighed(parts: Sequence[Part], shared: bool) -> list[Part]:
    """In the record's order, with the weights that follow from who is in each round."""
    found: list[Part] = sorted((p for p in parts if not p.round_id), key=lambda p: p.order)
    for round_id in sorted({p.round_id for p in parts} - {0}):
        group = [p for p in parts if p.round_id == round_id]
        share = shares(shared, [p.organization for p in group])
        ordered = sorted(group, key=lambda p: p.organization.lower())
        found += [replace(p, weight=share[p.organization]) for p in ordered]
    return found


def total(terms: Sequence[tuple[Tensors, int]]) -> dict[str, NDArray[np.int64]]:
    """The exact sum, without tensors that come to zero."""
    found: dict[str, NDArray[np.int64]] = {}
    for tensors, weight in terms:
        for name, value in tensors.items():
            found[name] = found.get(name, 0) + weight * np.asarray(value, np.int64)
    return {name: value for name, value in found.items() if value.any()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)
