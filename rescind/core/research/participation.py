"""Who takes part in a round, and what a late delta weighs: functions of who is in, in integers only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rescind.core.delta import WEIGHT_ONE
from rescind.core.errors import ConfigError
from rescind.core.layout import shrunk, weights
from rescind.core.parameters import Layout

_MOST_LATE = 64
_HALF_POWERS = 4


@dataclass(frozen=True)
class Staleness:
    """What becomes of a delta that was trained from the model of an earlier round.

    `most`: rounds that it may be late; more, and it is dropped (0: every late delta is). One that is
    taken, t rounds late, weighs its share times (1 + t)^(-half_powers / 2): with 1 the 1 / sqrt(1 + t)
    of FedBuff (Nguyen et al. 2022, arXiv 2106.06639) and of FedAsync with a = 1/2 (Xie et al. 2019,
    arXiv 1903.03934); with 0 lateness costs nothing.
    """

    most: int = 0
    half_powers: int = 1

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("most", self.most, _MOST_LATE),
            ("half_powers", self.half_powers, _HALF_POWERS),
        ):
            if not 0 <= value <= limit:
                raise ConfigError(f"staleness: {name} is {value}: it must be 0 to {limit}")


def late_weights(layout: Layout, late: Mapping[str, int], rule: Staleness) -> dict[str, int]:
    """Weights in basis points of those who are taken, from how many rounds late each delta is.

    The shares are those of `weights` among all who are taken; a late one is then shrunk, rounded
    down. What it loses goes to nobody: nobody's weight depends on how late another is, and a round's
    weights sum to 10,000 at most. In `blocks` nobody else changes an organization's block, so a delta
    made from its own latest block is never stale and weighs 10,000. Raises ConfigError for a negative
    lateness.
    """
    for who, rounds in late.items():
        if rounds < 0:
            raise ConfigError(f"delta of {who} is {rounds} rounds late: it must be 0 or more")
    if layout == "blocks":
        return weights(layout, list(late))
    taken = [who for who, rounds in late.items() if rounds <= rule.most]
    share = weights(layout, taken)
    shrinks = {who: (1 + late[who]) ** rule.half_powers for who in taken}
    return {who: shrunk(share[who], 1, shrinks[who]) for who in share}


def sample(members: Sequence[str], count: int, seed: int, round_id: int) -> list[str]:
    """`count` of the members by SHA-256 over "rescind.sample/1|seed|round|address", ascending.

    Anyone can recompute it, and whether one member is among the first does not depend on what others
    do. All of them when there are no more than `count`. Raises ConfigError when count is below 1.
    """
    if count < 1:
        raise ConfigError(f"a round of {count} organizations: count must be at least 1")

    def draw(who: str) -> bytes:
        return hashlib.sha256(f"rescind.sample/1|{seed}|{round_id}|{who.lower()}".encode()).digest()

    return sorted(sorted(members, key=draw)[:count], key=str.lower)


def undistributed(weights_of_round: Mapping[str, int]) -> int:
    """Basis points of a `shared` round that go to nobody: the model stays where it was by so much."""
    return WEIGHT_ONE - sum(weights_of_round.values())
