"""A model of made-up deltas, with its files and its record on chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rescind.contracts import Entry
from rescind.core import (
    ConsortiumParameters,
    Digest,
    Opening,
    commit,
    digest,
    owner,
    point_hash,
    qualify,
    sum_points,
    weighted_sum,
)
from rescind.withdrawals import Acceptance, RecordedModel, accept
from tests.support.consortium import micro_parameters, split_parameters

A, B, C = (f"0x{letter * 40}" for letter in "ABC")
PEOPLE = (A, B, C)
Tensors = dict[str, np.ndarray]


@dataclass
class Scene:
    """A model of two rounds of three organizations, its files and its record on chain."""

    parameters: ConsortiumParameters
    record: RecordedModel
    tensors: Tensors
    openings: dict[str, Opening]

    def accept(self) -> Acceptance:
        return accept(self.record, self.parameters, self.tensors, self.openings)


def split_scene() -> Scene:
    """Make a model of one round of private ranks and of the ranks that all share."""
    parameters, rng = split_parameters(), np.random.default_rng(5)
    entries: list[Entry] = []
    points, totals = {}, []
    summed: dict[str, list[tuple[Tensors, int]]] = {}
    for form, weight in zip(parameters.parts, (10_000, 3_333), strict=True):
        terms = []
        for number, organization in enumerate(PEOPLE):
            name = form.owner(organization)
            delta = {
                qualify(name, bare): rng.integers(-90, 90, shape, dtype=np.int32)
                for bare, shape in form.shapes.items()
            }
            point = commit(digest(delta))
            points[point_hash(point)] = point
            entries.append(Entry(1, organization, number, weight, point_hash(point), form.number))
            summed.setdefault(name, []).append((delta, weight))
            terms.append((point, weight))
        totals.append(point_hash(sum_points(terms)))
    tensors = {
        name: value for terms in summed.values() for name, value in weighted_sum(terms).items()
    }
    openings = {
        name: Opening.build(name, [(digest(delta), weight) for delta, weight in terms])
        for name, terms in summed.items()
    }
    record = RecordedModel(7, tuple(entries), tuple(totals), points)
    return Scene(parameters, record, tensors, openings)


def scene(
    *, federated: bool = False, changed: Mapping[tuple[int, str], bytes] | None = None
) -> Scene:
    """Make the scene; `changed` registers another point than the delta's."""
    parameters = micro_parameters(federated=federated)
    rng, weight = np.random.default_rng(3), 3_333 if federated else 10_000
    entries, points = [], {}
    summed: dict[str, list[tuple[Tensors, int]]] = {}
    opened: dict[str, list[tuple[Digest, int]]] = {}
    for round_id in (1, 2):
        for number, organization in enumerate(PEOPLE):
            name = owner(parameters.layout, organization)
            delta = {
                qualify(name, bare): rng.integers(-90, 90, shape, dtype=np.int32)
                for bare, shape in parameters.delta_shapes().items()
            }
            point = (changed or {}).get((round_id, organization), commit(digest(delta)))
            points[point_hash(point)] = point
            entries.append(Entry(round_id, organization, number, weight, point_hash(point)))
            summed.setdefault(name, []).append((delta, weight))
            opened.setdefault(name, []).append((digest(delta), weight))
    total = sum_points([(points[each.point_hash], each.weight) for each in entries])
    tensors: Tensors = {}
    for terms in summed.values():
        tensors |= weighted_sum(terms)
    return Scene(
        parameters,
        RecordedModel(7, tuple(entries), (point_hash(total),), points),
        tensors,
        {name: Opening.build(name, terms) for name, terms in opened.items()},
    )


def nudged(tensors: Tensors, prefix: str) -> Tensors:
    """Return tensors that differ in one entry of a name with this prefix."""
    name = next(name for name in sorted(tensors) if name.startswith(prefix))
    return {**tensors, name: tensors[name] + 1}
