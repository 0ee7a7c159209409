"""Rounds, and what organizations registered in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rescind.contracts.states import AnswerState, RejectReason, RoundState
from rescind.core import point_hash

NO_MANIFEST = "00" * 32
"""Manifest of a contribution whose data its organization does not commit to."""


@dataclass(frozen=True)
class Round:
    """A round; `deadline` is that of its present state, `model_id` 0 before it is final."""

    id: int
    state: RoundState
    attested: bool
    opened_at: int
    deadline: int
    parent_model: int
    model_id: int


@dataclass(frozen=True)
class Answers:
    """Addresses of the members that did something in a round, ascending by member number."""

    committed: tuple[str, ...]
    revealed: tuple[str, ...]
    accepted: tuple[str, ...]
    sat_out: tuple[str, ...]
    unavailable: tuple[str, ...]

    def of(self, organization: str) -> AnswerState:
        """Return what an organization did."""
        if organization in self.revealed:
            return AnswerState.REVEALED
        if organization in self.committed:
            return AnswerState.COMMITTED
        if organization in self.sat_out:
            return AnswerState.SAT_OUT
        if organization in self.unavailable:
            return AnswerState.UNAVAILABLE
        return AnswerState.NONE


@dataclass(frozen=True)
class Parts:
    """The parts of one contribution, as they are committed, revealed and offered together.

    Attributes:
        artifact_ids: SHA-256 of each part's artifact.
        points: Commitment of each part's digest, 128 bytes.
        manifest: Commitment to the data that was trained on, 32 bytes in hexadecimal.
    """

    artifact_ids: tuple[str, ...]
    points: tuple[bytes, ...]
    manifest: str = NO_MANIFEST

    @property
    def point_hashes(self) -> tuple[str, ...]:
        """Hash of each part's point."""
        return tuple(point_hash(point) for point in self.points)

    def part_with(self, artifact_id: str) -> int | None:
        """Return the part that an artifact is; None if it is none of them."""
        return self.artifact_ids.index(artifact_id) if artifact_id in self.artifact_ids else None


@dataclass(frozen=True)
class Contribution:
    """Parts that an organization registered.

    Attributes:
        offer_id: 0 for what it revealed in the round; otherwise the withdrawal or, with the highest
            of 64 bits set, the replay that it was offered for.
        round_id: The round; 0 for a counter-delta.
        organization: The contributor.
        member_number: Its number.
        parts: What was registered.
    """

    offer_id: int
    round_id: int
    organization: str
    member_number: int
    parts: Parts


@dataclass(frozen=True)
class Rejection:
    """A revealed contribution that the aggregator did not accept."""

    organization: str
    reason: RejectReason


@dataclass(frozen=True)
class Judgement:
    """The aggregator's decision on a round: scores of accepted members, reasons for the others."""

    scores: Mapping[str, int]
    rejections: tuple[Rejection, ...]
