"""The names that ledger records give to withdrawals and replays."""

from __future__ import annotations

from rescind.contracts import REPLAY_OFFERS


def about_offer(offer_id: int) -> dict[str, int]:
    """Return the field of a ledger record that names a withdrawal or a replay."""
    replay = offer_id >= REPLAY_OFFERS
    return {"replay": offer_id - REPLAY_OFFERS} if replay else {"withdrawal": offer_id}


def offer_name(offer_id: int) -> str:
    """Return the key under which the ledger files a withdrawal or a replay."""
    return "/".join(f"{kind}/{number}" for kind, number in about_offer(offer_id).items())
