"""Models, their content, and the sums behind them."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.contracts.states import ModelKind

REPLAY_OFFERS = 1 << 63
"""Offer ids from here on are replays; below are withdrawals, and 0 is a round itself."""


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        id: Its number; 0 is the base model alone.
        kind: What it was folded for.
        source: The model that it succeeds.
        last_round: The last round in it.
        amendments: How many amendments its content has.
        registered_at: Time of its registration.
        released: Whether it stays in use when later rounds are final.
        commitments: Hash of its commitment for each part.
    """

    id: int
    kind: ModelKind
    source: int
    last_round: int
    amendments: int
    registered_at: int
    released: bool
    commitments: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """A publisher's word on which files are a model."""

    model_id: int
    publisher: str
    adapter_id: str
    opening_id: str


@dataclass(frozen=True)
class Amendment:
    """A change that a withdrawal makes in every model that it concerns.

    Attributes:
        number: Its place in the order of amendments, from 1.
        kind: Not `ROUND`.
        organization: Whose contributions it changes; empty for a replay.
        member_number: Its number; 0 for a replay.
        from_round: First round that it changes; 0 for all of them and for a counter-delta.
        to_round: Last round that was trained again, in a replay.
        offer_id: Where its points come from; 0 in a removal.
    """

    number: int
    kind: ModelKind
    organization: str
    member_number: int
    from_round: int
    to_round: int
    offer_id: int


@dataclass(frozen=True)
class Fold:
    """How far the successor of a model is folded, or what would be folded.

    Attributes:
        open: Whether a first piece was sent.
        round_id: The round that is added, or 0.
        amendment: The amendment that is made; with a round, the number of amendments there are.
        part: The part whose sum is under way.
        row: The step of that sum that comes next.
        place: How many terms of that step are summed.
        carried: Hash of the sum so far.
    """

    open: bool
    round_id: int
    amendment: int
    part: int
    row: int
    place: int
    carried: str


@dataclass(frozen=True)
class SumProgress:
    """How far the sum of a round's points is.

    Attributes:
        part: The part that is summed next. Parts with the rule `LATEST` are not summed.
        members: How many members' points are in it.
        carried: Hash of the sum so far; zero before the first piece of a part.
    """

    part: int
    members: int
    carried: str


@dataclass(frozen=True)
class Term:
    """One term of a fold: coefficient x point."""

    point_hash: str
    coefficient: int


@dataclass(frozen=True)
class Entry:
    """One contribution in a model, for one part; round 0 is a counter-delta."""

    round_id: int
    organization: str
    member_number: int
    weight: int
    point_hash: str
    part: int = 0
