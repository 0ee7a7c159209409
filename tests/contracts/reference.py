"""The content that models must have, derived from accepted contributions and amendments alone.

It is written from docs/contracts.md and shares nothing with the contracts: no sums, no rows, no
corrections, only the content of a model written out in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rescind.contracts import ModelKind, Rule

WHOLE = 10_000
Content = list[tuple[int, str, int, str]]
"""Round, organization, weight, hash of the point; ascending, counter-deltas (round 0) first."""


@dataclass(frozen=True)
class Change:
    """An amendment.

    Attributes:
        kind: What changes.
        organization: Whose contributions; empty for a replay.
        from_round: First round that changes.
        to_round: Last round that a replay trained again.
        points: What it brings, by round and organization.
        since: How many amendments there were when a replay began: later replacements stay.
    """

    kind: ModelKind
    organization: str = ""
    from_round: int = 0
    to_round: int = 0
    points: Mapping[tuple[int, str], str] = field(default_factory=dict)
    since: int = 0


@dataclass(frozen=True)
class Expected:
    """A model: rounds up to `last_round`, changed by the first so many amendments."""

    kind: ModelKind
    source: int
    last_round: int
    amendments: int


@dataclass
class Reference:
    """All that decides the content of models.

    Attributes:
        rule: How contributions add up.
        organizations: Members by number.
        rounds: Accepted contributions of final rounds, by organization.
        changes: Amendments in order.
        models: Models by number; 0 is the base model alone.
        in_use: The head and released models.
        head: The model that rounds build on.
    """

    rule: Rule
    organizations: list[str]
    rounds: dict[int, dict[str, str]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    models: list[Expected] = field(default_factory=lambda: [Expected(ModelKind.ROUND, 0, 0, 0)])
    in_use: set[int] = field(default_factory=set)
    released: set[int] = field(default_factory=set)
    head: int = 0

    def content(self, model: Expected) -> Content:
        """Return what a model is made of."""
        entries = self._counters(model)
        for number in range(1, model.last_round + 1):
            points = self._points(number, model.amendments)
            weight = WHOLE // len(points) if points and self.rule is Rule.SHARE else WHOLE
            entries += [
                (number, name, weight, points[name])
                for name in self.organizations
                if name in points
            ]
        return entries

    def holds(self, model: Expected, organization: str) -> bool:
        """Return whether a contribution of an organization is in a model."""
        return any(name == organization for _, name, _, _ in self.content(model))

    def out(self, amendments: int) -> set[str]:
        """Return the organizations that the first so many amendments took out."""
        return {
            change.organization
            for change in self.changes[:amendments]
            if change.kind is ModelKind.REMOVAL
        }

    def missing(self, model: Expected) -> int:
        """Return the first amendment that concerns a model and is not in it, or 0."""
        for number in range(model.amendments + 1, len(self.changes) + 1):
            if self._concerns(self.changes[number - 1], model):
                return number
        return 0

    def successor(self, source: int, judged: int) -> Expected | None:
        """Return the next model that is folded from one, or None.

        Args:
            source: The model.
            judged: The round that waits to be folded, or 0.
        """
        model = self.models[source]
        amendment = self.missing(model)
        if amendment:
            kind = self.changes[amendment - 1].kind
            return Expected(kind, source, model.last_round, amendment)
        if judged and source == self.head:
            return Expected(ModelKind.ROUND, source, judged, len(self.changes))
        return None

    def add(self, model: Expected) -> None:
        """Put a model in the place of its source."""
        number = len(self.models)
        self.models.append(model)
        adds = model.kind is ModelKind.ROUND
        if not (adds and model.source in self.released):
            self.in_use.discard(model.source)
        if not adds and model.source in self.released:
            self.released.add(number)
        self.in_use.add(number)
        if self.head == model.source:
            self.head = number

    def _counters(self, model: Expected) -> Content:
        changes = self.changes[: model.amendments]
        out = self.out(model.amendments)
        return [
            (0, name, WHOLE, change.points[0, name])
            for name in self.organizations
            for change in changes
            if change.kind is ModelKind.COUNTER_TRAINING
            and change.organization == name
            and name not in out
            and self._contributed(name, model.last_round)
        ]

    def _points(self, number: int, amendments: int) -> dict[str, str]:
        """Return the points of a round as the first so many amendments leave them."""
        points, since = dict(self.rounds.get(number, {})), 0
        for change in self.changes[:amendments]:
            replays = change.kind is ModelKind.REPLAY
            if replays and change.from_round <= number <= change.to_round:
                points, since = self._offered(change, number), change.since
        for change in self.changes[since:amendments]:
            if change.kind is ModelKind.REPLACEMENT:
                offered = self._offered(change, number)
                points |= {name: point for name, point in offered.items() if name in points}
        out = self.out(amendments)
        return {name: point for name, point in points.items() if name not in out}

    @staticmethod
    def _offered(change: Change, number: int) -> dict[str, str]:
        return {name: point for (n, name), point in change.points.items() if n == number}

    def _concerns(self, change: Change, model: Expected) -> bool:
        if change.from_round > model.last_round:
            return False
        if change.kind is ModelKind.REPLAY:
            return True
        name = change.organization
        return name not in self.out(model.amendments) and self._contributed(name, model.last_round)

    def _contributed(self, organization: str, last_round: int) -> bool:
        return any(
            organization in points for number, points in self.rounds.items() if number <= last_round
        )
