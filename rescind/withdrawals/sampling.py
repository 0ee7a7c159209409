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


def draw_sample(
    reader: ConsortiumReader, withdrawal: Withdrawal, organization: str, share: float
) -> Sample:
    """Return the rounds that an organization must repeat.

    Rounds are ordered by SHA-256("rescind.sample/1|" chain "|" contract "|" withdrawal "|"
    organization "|" block hash "|" round); the first `share` of them are the sample, at least one.

    Args:
        reader: The public record.
        withdrawal: A replay whose offers are closed.
        organization: The organization.
        share: The share of its rounds, in (0, 1].

    Raises:
        NothingToRepeat: The offers are not closed yet, or the organization offered nothing.
    """
    offers = [
        offer
        for offer in last_offers(reader, withdrawal.id)
        if offer.organization == organization and offer.round_id
    ]
    if not offers:
        raise NothingToRepeat(
            f"{organization} offered no round for withdrawal {withdrawal.id}, so it has nothing to "
            "repeat."
        )
    block = closing_block(reader, withdrawal)
    block_hash = reader.chain.block_hash(block)
    deployment = reader.deployment
    name = (
        f"rescind.sample/1|{deployment.chain_id}|{deployment.withdrawals.lower()}|{withdrawal.id}|"
        f"{organization.lower()}|{block_hash}"
    )

    def rank(offer: Contribution) -> bytes:
        return hashlib.sha256(f"{name}|{offer.round_id}".encode()).digest()

    chosen = sorted(offers, key=rank)[: math.ceil(share * len(offers))]
    return Sample(block, block_hash, tuple(sorted(chosen, key=lambda offer: offer.round_id)))


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
