"""The content from which members train a round of a replay, as a function of the public record."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.contracts import ConsortiumReader, Contribution, Entry, Replay, Rule
from rescind.core import WEIGHT_ONE


def replay_content(
    reader: ConsortiumReader, replay: Replay, round_id: int, part: int = 0
) -> list[Entry]:
    """Return the content from which members train a round of a replay.

    It is what the head holds of the rounds before the replay, then what members offered for the
    rounds of the replay before this one, without those who are out, and the counter-deltas that
    the round's recorded parent had.

    Args:
        reader: The public record, at one block.
        replay: The replay.
        round_id: The round, whose earlier rounds in the replay are closed.
        part: The part.
    """
    kept = remaining_content(reader, round_id, part, before=replay.from_round)
    rule = reader.settings().rules[part]
    for number in range(replay.from_round, round_id):
        offers = reader.replayed(replay.id, number)
        kept += replayed_entries(
            [offer for offer in offers if not reader.excluded_by(offer.organization)], rule, part
        )
    return kept


def remaining_content(
    reader: ConsortiumReader, round_id: int, part: int = 0, *, before: int | None = None
) -> list[Entry]:
    """Return what the head still has of what a round was trained from.

    It is what the recorded parent held, without what withdrawals took out since then: rounds before
    it, and the counter-deltas that the parent had.

    Args:
        reader: The public record, at one block.
        round_id: The round.
        part: The part.
        before: The first round that is left out; the round itself by default.
    """
    last = round_id if before is None else before
    head = reader.content(reader.latest_model_id(), part)
    parent = reader.content(reader.round(round_id).parent_model, part)
    counters = {entry.point_hash for entry in parent if not entry.round_id}
    return [
        entry
        for entry in head
        if 0 < entry.round_id < last or (not entry.round_id and entry.point_hash in counters)
    ]


def replayed_entries(offers: Sequence[Contribution], rule: Rule, part: int = 0) -> list[Entry]:
    """Return what offers for one round of a replay are in a model.

    Args:
        offers: The offers of members that are not out, by member number.
        rule: How the contributions of the part add up.
        part: The part.
    """
    weight = WEIGHT_ONE // len(offers) if offers and rule is Rule.SHARE else WEIGHT_ONE
    return [
        Entry(
            offer.round_id,
            offer.organization,
            offer.member_number,
            weight,
            offer.parts.point_hashes[part],
            part,
        )
        for offer in offers
    ]
