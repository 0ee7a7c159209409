"""Krum and Multi-Krum: selections of a round's updates by exact integer distances.

A selection only chooses the weights of a `shared` round, in basis points. The round's sum stays a
weighted sum of registered deltas, so the contract can check its digest.

Distances are exact integers over the deltas as registered, without the noise that hides digests, and
ties go to the lowest address: anyone who has the deltas computes the same weights on any machine.
`rescind.aggregator.research_rules` holds rules that the daemon does not use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    IntTensors,
    WrongShape,
    is_hiding,
    weighted_sum,
    weights,
)
from rescind.core.errors import ConfigError

Deltas = Mapping[str, IntTensors]
"""The deltas of one round of a shared layout, by organization."""


class TooFewUpdates(ConfigError):
    """The round has fewer updates than the rule needs."""

    code = "config-too-few-updates"


@dataclass(frozen=True)
class Selection:
    """The outcome of a rule.

    Attributes:
        weights: Basis points of each organization that is summed.
        left_out: The other organizations, ascending.
        measure: The figure by which the rule judged each organization: a Krum score, or the square
            of a norm, in integer units.
    """

    weights: dict[str, int]
    left_out: tuple[str, ...] = ()
    measure: Mapping[str, int] = field(default_factory=dict)


class RobustRule(ABC):
    """A rule that aggregates a round in which some updates may be bad.

    Attributes:
        name: The rule's name in the agreed parameters and in error messages.
    """

    name: ClassVar[str]

    @abstractmethod
    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        """Return the round's aggregate, in units of 2^-fraction_bits / 10,000.

        Raises:
            TooFewUpdates: The round has fewer updates than the rule needs.
            WrongShape: The deltas do not have the same tensors.
        """


class WeightRule(RobustRule):
    """A rule that only chooses integer weights, so that a contract can check the sum."""

    @abstractmethod
    def select(self, deltas: Deltas) -> Selection:
        """Return the weight of each update.

        Raises:
            TooFewUpdates: The round has fewer updates than the rule needs.
            WrongShape: The deltas do not have the same tensors.
        """

    def combine(self, deltas: Deltas) -> dict[str, NDArray[np.int64]]:
        """Return the weighted sum of the selection."""
        chosen = self.select(deltas).weights
        return weighted_sum(
            (deltas[organization], weight) for organization, weight in chosen.items()
        )


@dataclass(frozen=True)
class MultiKrum(WeightRule):
    """The updates with the lowest Krum scores, in equal shares.

    The score of an update is the sum of its squared L2 distances to the n - f - 2 nearest others, f
    being `byzantine` (Blanchard et al. 2017, arXiv 1703.02757).

    Attributes:
        byzantine: Number of bad updates to withstand; the round needs 2 `byzantine` + 3 updates.
        kept: Number of updates to keep, at most n - f; n - f - 2 if None.
    """

    name = "multi-krum"
    byzantine: int
    kept: int | None = None

    def select(self, deltas: Deltas) -> Selection:
        """Return equal weights for the kept updates."""
        organizations, bad = check_same_tensors(deltas), self.byzantine
        count = len(organizations)
        if bad < 0 or count < 2 * bad + 3:
            raise TooFewUpdates(
                f"{self.name} against {bad} bad updates needs at least {2 * bad + 3}, the round has "
                f"{count}: lower the number of bad updates or wait for more organizations"
            )
        kept = count - bad - 2 if self.kept is None else self.kept
        if not 1 <= kept <= count - bad:
            raise ConfigError(
                f"{self.name} cannot keep {kept} of {count} updates: keep 1 to {count - bad}"
            )
        scores = _krum_scores(organizations, deltas, nearest=count - bad - 2)
        best = sorted(organizations, key=lambda organization: scores[organization])[:kept]
        left_out = tuple(organization for organization in organizations if organization not in best)
        return Selection(weights("shared", best), left_out, scores)


@dataclass(frozen=True)
class Krum(MultiKrum):
    """The one update with the lowest Krum score."""

    name = "krum"
    kept: int | None = field(default=1, init=False)


def check_same_tensors(deltas: Deltas) -> list[str]:
    """Return the organizations of a round, ascending, if their deltas have the same tensors.

    Raises:
        WrongShape: Two deltas differ in a tensor's presence or shape.
    """
    organizations = sorted(deltas, key=str.lower)
    shapes = {
        organization: {name: value.shape for name, value in compared_tensors(deltas[organization])}
        for organization in organizations
    }
    for organization in organizations:
        different = sorted(
            set(shapes[organization].items()) ^ set(shapes[organizations[0]].items())
        )
        if different:
            raise WrongShape(
                f"tensor {different[0][0]!r} is missing from the delta of {organization} or of "
                f"{organizations[0]}, or has two shapes: updates can be compared only in a shared "
                "layout, where all deltas have the same tensors"
            )
    return organizations


def squared_distance(first: IntTensors, second: IntTensors | None = None) -> int:
    """Return the squared L2 distance of two deltas, or the squared norm of one: an exact integer."""
    total = 0
    for name, value in compared_tensors(first):
        difference = value.astype(np.int64)
        if second is not None:
            difference = difference - second[name].astype(np.int64)
        # A square can have 66 bits. In halves of 16 bits no product overflows 64 bits, and Python
        # adds the parts up exactly.
        high, low = (difference >> 16).ravel(), (difference & 0xFFFF).ravel()
        total += (int(high @ high) << 32) + (int(high @ low) << 17) + int(low @ low)
    return total


def compared_tensors(delta: IntTensors) -> Iterator[tuple[str, NDArray[np.int32]]]:
    """Yield the tensors of a delta by name, without the noise that hides its digest."""
    return ((name, delta[name]) for name in sorted(delta) if not is_hiding(name))


def _krum_scores(organizations: Sequence[str], deltas: Deltas, *, nearest: int) -> dict[str, int]:
    distances: dict[tuple[str, str], int] = {}
    for index, first in enumerate(organizations):
        # Once for all others: `deltas` may read it from the disk.
        delta = deltas[first]
        for second in organizations[index + 1 :]:
            distance = squared_distance(delta, deltas[second])
            distances[first, second] = distances[second, first] = distance
        del delta
    return {
        organization: sum(
            sorted(
                distances[organization, other] for other in organizations if other != organization
            )[:nearest]
        )
        for organization in organizations
    }
