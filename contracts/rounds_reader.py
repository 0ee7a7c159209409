"""Reads of rounds."""

from __future__ import annotations

from rescind.contracts.decoding import Struct, build
from rescind.contracts.members_reader import MembersReader
from rescind.contracts.points import numbers_in, split_points
from rescind.contracts.states import RejectReason
from rescind.contracts.types import Answers, Contribution, Judgement, Parts, Rejection, Round


class RoundsReader(MembersReader):
    """Reads of rounds and of what members did in them."""

    def current_round_id(self) -> int:
        """Return the number of the last round that was opened, or 0."""
        return int(self._read("Rounds", "currentRound"))

    def round(self, round_id: int) -> Round:
        """Return a round."""
        struct = self._read("Rounds", "roundOf", round_id)
        return build(Round, struct, {"parent_model": "parent", "model_id": "model"}, id=round_id)

    def all_answered(self, round_id: int) -> bool:
        """Return whether every member that may contribute has answered."""
        return bool(self._read("Rounds", "allAnswered", round_id))

    def all_revealed(self, round_id: int) -> bool:
        """Return whether every member that committed and is still active has revealed."""
        return bool(self._read("Rounds", "allRevealed", round_id))

    def answers(self, round_id: int) -> Answers:
        """Return which organizations did what in a round."""
        struct = self._read("Rounds", "answersOf", round_id)
        organizations = self.organizations()
        names = ("committed", "revealed", "accepted", "satOut", "unavailable")
        return Answers(*(self._addresses(struct[name], organizations) for name in names))

    def accepted(self, round_id: int) -> list[str]:
        """Return the organizations whose contribution to a round counts."""
        return list(self._addresses(self._read("Rounds", "acceptedIn", round_id)))

    def contributions(self, round_id: int) -> list[Contribution]:
        """Return what was revealed in a round, by member number.

        It is taken from events; `point_of` returns the hash that the contract keeps.
        """
        logged = self._logged("Rounds", "UpdateRevealed", round=round_id)
        revealed = [self._contribution(event, str(event["organization"]), 0) for event in logged]
        return sorted(revealed, key=lambda each: each.member_number)

    def point_of(self, round_id: int, member_number: int, part: int = 0) -> str:
        """Return the hash of the point of one part that a member revealed."""
        value = bytes(self._read("Rounds", "pointOf", round_id, member_number, part))
        return value.hex()

    def artifact_of(self, point: str) -> str:
        """Return the artifact that was revealed with a point of this hash, or ""."""
        value = bytes(self._read("Rounds", "artifactOf", bytes.fromhex(point)))
        return value.hex() if any(value) else ""

    def judgement(self, round_id: int) -> Judgement | None:
        """Return what the aggregator decided on a round, or None before it did."""
        events = self._logged("Rounds", "RoundJudged", round=round_id)
        if not events:
            return None
        (event,) = events
        organizations = self.organizations()
        accepted = self._addresses(event["accepted"], organizations)
        rejected = self._addresses(event["rejected"], organizations)
        scores = bytes(event["scores"])
        return Judgement(
            {
                organization: int.from_bytes(scores[2 * place : 2 * place + 2], "big")
                for place, organization in enumerate(accepted)
            },
            tuple(
                Rejection(organization, _reason(number))
                for organization, number in zip(rejected, bytes(event["reasons"]), strict=True)
            ),
        )

    def score(self, round_id: int, organization: str) -> tuple[int, int]:
        """Return an organization's score in a final round, and the sum of all that count."""
        struct = self._read("Rounds", "scoreOf", round_id, organization)
        return int(struct["score"]), int(struct["total"])

    def is_payable(self, round_id: int) -> bool:
        """Return whether rewards of a round can be claimed."""
        return bool(self._read("Rounds", "isPayable", round_id))

    def attested_up_to(self) -> int:
        """Return the last round such that it and all final ones before it were attested."""
        return int(self._read("Rounds", "attestedUpTo"))

    def round_quorum(self) -> int:
        """Return how many auditors must attest a round."""
        return int(self._read("Rounds", "auditorQuorum"))

    def rounds_of(self, organization: str) -> list[int]:
        """Return the rounds in which a contribution of an organization counts."""
        member = self.member(organization)
        if not member.status.joined:
            return []
        last = self.current_round_id()
        return [number for number in range(1, last + 1) if self._is_accepted(number, member.number)]

    def _is_accepted(self, round_id: int, member_number: int) -> bool:
        return member_number in numbers_in(self._read("Rounds", "acceptedIn", round_id))

    def _contribution(self, event: Struct, organization: str, offer_id: int) -> Contribution:
        parts = Parts(
            tuple(bytes(each).hex() for each in event["artifactIds"]),
            split_points(bytes(event["points"])),
            bytes(event["manifest"]).hex(),
        )
        return Contribution(
            offer_id, int(event["round"]), organization, int(event["member"]), parts
        )


def _reason(number: int) -> RejectReason:
    """Return a reason for a rejection; the aggregator can put any byte into its event."""
    try:
        return RejectReason(number)
    except ValueError:
        return RejectReason.MALFORMED
