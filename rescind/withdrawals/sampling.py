"""The rounds of a replay that an organization trains again for auditors.

The sample is drawn by the hash of the block in which the offers were closed. No organization knew it
when it trained, none can offer again after it, and anyone can draw the sample again.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from rescind.contracts import ConsortiumReader, Contribution, Withdrawal
from rescind.core.errors import VerificationError


class NothingToRepeat(VerificationError):
    """A withdrawal has no offers that can be repeated, or not yet."""

    code = "nothing-to-repeat"


@dataclass(frozen=True)
class Sample:
    """The rounds that one organization must repeat.

    Attributes:
        block: The block in which the offers were closed.
        block_hash: Its hash, with 0x.
        offers: The offers to repeat, by ascending round.
    """

    block: int
    block_hash: str
    offers: tuple[Contribution, ...]

    @property
    def rounds(self) -> tuple[int, ...]:
        """The numbers of the rounds."""
        return tuple(offer.round_id for offer in self.offers)


def last_offers(reader: ConsortiumReader, withdrawal_id: int) -> list[Contribution]:
    """Return what was offered for a withdrawal and its replay; of repeated offers the last."""
    wanted = {withdrawal_id, reader.replay_of(withdrawal_id)} - {0}
    last = {
        (offer.offer_id, offer.round_id, offer.organization): offer
        for offer in reader.offers()
        if offer.offer_id in wanted
    }
    return list(last.values())


def draw_samples(
    reader: ConsortiumReader, withdrawal: Withdrawal, share: float
) -> dict[str, Sample]:
    """Return the rounds that each organization must repeat, by organization.

    Rounds are ordered by SHA-256("rescind.sample/1|" chain "|" contract "|" withdrawal "|"
    organization "|" block hash "|" round); the first `share` of them are the sample, at least one.

    Args:
        reader: The public record.
        withdrawal: A replay whose offers are closed.
        share: The share of an organization's rounds, in (0, 1].

    Raises:
        NothingToRepeat: The offers are not closed yet.
    """
    block = closing_block(reader, withdrawal)
    block_hash = reader.chain.block_hash(block)
    deployment = reader.deployment
    offers: dict[str, list[Contribution]] = {}
    for offer in last_offers(reader, withdrawal.id):
        if offer.round_id:
            offers.setdefault(offer.organization, []).append(offer)
    samples = {}
    for organization in sorted(offers, key=str.lower):
        name = (
            f"rescind.sample/1|{deployment.chain_id}|{deployment.withdrawals.lower()}|"
            f"{withdrawal.id}|{organization.lower()}|{block_hash}"
        )
        ranks = {
            hashlib.sha256(f"{name}|{each.round_id}".encode()).digest(): each
            for each in offers[organization]
        }
        chosen = [ranks[rank] for rank in sorted(ranks)][: math.ceil(share * len(ranks))]
        ordered = tuple(sorted(chosen, key=lambda each: each.round_id))
        samples[organization] = Sample(block, block_hash, ordered)
    return samples


def draw_sample(
    reader: ConsortiumReader, withdrawal: Withdrawal, organization: str, share: float
) -> Sample:
    """Return the rounds that one organization must repeat; see `draw_samples`.

    Raises:
        NothingToRepeat: The offers are not closed yet, or the organization offered nothing.
    """
    samples = draw_samples(reader, withdrawal, share)
    if organization not in samples:
        raise NothingToRepeat(
            f"{organization} offered no round for withdrawal {withdrawal.id}, so it has nothing to "
            "repeat."
        )
    return samples[organization]


def closing_block(reader: ConsortiumReader, withdrawal: Withdrawal) -> int:
    """Return the block of a withdrawal's amendment, after which nothing is offered for it.

    Raises:
        NothingToRepeat: There is no amendment yet.
    """
    if withdrawal.amendment:
        for event in reader.events():
            if event.name == "Amended" and event.args["amendment"] == withdrawal.amendment:
                return event.block
    raise NothingToRepeat(
        f"withdrawal {withdrawal.id} is {withdrawal.state.value}: its offers are not closed yet. "
        "Wait until it is attesting."
    )
