"""Sampling of members for a round, and weights of late deltas, in integers only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rescind.core.delta import WEIGHT_ONE
from rescind.core.errors import ConfigError
from rescind.core.layout import shrunk, weights
from rescind.core.parameters import Layout

_MOST_LATE = 64
"""The most rounds by which a delta may be late."""
_HALF_POWERS = 4
"""The steepest decay: (1 + t)^-2."""


@dataclass(frozen=True)
class Staleness:
    """The rule for a delta that was trained from the model of an earlier round.

    A delta that is t rounds late weighs its share times (1 + t)^(-half_powers / 2): with 1 the 1 /
    sqrt(1 + t) of FedBuff (Nguyen et al. 2022, arXiv 2106.06639) and of FedAsync with a = 1/2 (Xie
    et al. 2019, arXiv 1903.03934); with 0 lateness costs nothing.

    Attributes:
        most: By how many rounds a delta may be late. A later one is dropped; 0 drops every late
        one. half_powers: The decay.
    """

    most: int = 0
    half_powers: int = 1

    def __post_init__(self) -> None:
        for name, value, limit in (
            ("most", self.most, _MOST_LATE),
            ("half_powers", self.half_powers, _HALF_POWERS),
        ):
            if not 0 <= value <= limit:
                raise ConfigError(f"staleness: {name} is {value}, but it must be from 0 to {limit}")


def late_weights(layout: Layout, late: Mapping[str, int], rule: Staleness) -> dict[str, int]:
    """Return the weights, in basis points, of the organizations whose deltas are accepted.

    The shares are those of `weights` among all accepted organizations; a late delta's share is then
    shrunk, rounded down. The loss is not redistributed: no weight depends on how late another delta
    is, and a round's weights sum to 10,000 at most. In `blocks` only the owner changes a block, so
    a delta made from its latest block is never stale and weighs 10,000.

    Args:
        layout: The layout.
        late: By how many rounds each organization's delta is late.
        rule: What lateness costs.

    Raises:
        ConfigError: A lateness is negative.
    """
    for organization, rounds in late.items():
        if rounds < 0:
            raise ConfigError(
                f"the delta of {organization} is {rounds} rounds late: it must be 0 or more"
            )
    if layout == "blocks":
        return weights(layout, list(late))
    accepted = [name for name, rounds in late.items() if rounds <= rule.most]
    share = weights(layout, accepted)
    divisors = {name: (1 + late[name]) ** rule.half_powers for name in accepted}
    return {name: shrunk(share[name], 1, divisors[name]) for name in share}


def sample(members: Sequence[str], count: int, seed: int, round_id: int) -> list[str]:
    """Return `count` of the members, in the order of a hash that anyone can compute.

    The hash is SHA-256 over "rescind.sample/1|seed|round|address", ascending.

    Anyone can recompute it, and whether one member is among the first does not depend on what
    others do. All members are returned when there are no more than `count`.

    Raises:
        ConfigError: `count` is below 1.
    """
    if count < 1:
        raise ConfigError(f"a round cannot have {count} organizations: count must be at least 1")

    def draw(member: str) -> bytes:
        text = f"rescind.sample/1|{seed}|{round_id}|{member.lower()}"
        return hashlib.sha256(text.encode()).digest()

    return sorted(sorted(members, key=draw)[:count], key=str.lower)


def undistributed(weights_of_round: Mapping[str, int]) -> int:
    """Return the basis points of a `shared` round that no delta has; by so much the model stays."""
    return WEIGHT_ONE - sum(weights_of_round.values())
