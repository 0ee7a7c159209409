"""The participation game's parameters, and the organizations that are drawn from them."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rescind.agents.curves import LearningCurve

RewardRule = Literal["equal", "alone", "leave-one-out", "shapley"]
Conduct = Literal[
    "honest",
    "zero",
    "random",
    "copied",
    "replayed",
    "sign-flipped",
    "duplicated",
    "stale",
]

CONDUCTS: tuple[Conduct, ...] = (
    "honest",
    "zero",
    "random",
    "copied",
    "replayed",
    "sign-flipped",
    "duplicated",
    "stale",
)
# For each conduct: whether the chain takes the update, what it seems to add by itself and what it adds
# beside the others (shares of what honest training would), and the share of the cost that it has.
#                            honest zero random copied replayed flipped duplicated stale
ACCEPTED = np.array([1, 0, 1, 1, 0, 1, 1, 1], dtype=np.int8)
ALONE = np.array([1.0, 0.0, 0.0, 1.0, 0.0, -1.0, 1.0, 0.5])
MARGINAL = np.array([1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
COST = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])

Share = Annotated[float, Field(ge=0, le=1)]
Ether = Annotated[float, Field(ge=0, le=1e6)]
Spread = Annotated[float, Field(ge=0, le=3)]


class GameConfig(BaseModel):
    """A game of `rounds` rounds. Money is in ether; a *spread* is the sigma of a log-normal factor of
    mean 1, drawn once for each organization.

    `reward_rule`: how scores are made; what a score pays is the contract's rule always.
    `reward_per_round`, `pool`: of the consortium, or `per_organization` of it.
    `quality_value`: what a model that knows all of one's questions is worth to an organization.
    `compute_price`: of a round at full effort, or `prices`, one for each organization; energy moves it by `energy_amplitude` over a day of
    `rounds_per_day`, each organization with its own phase.
    `dominant`: share of all data that the first organization holds (0: none is singled out).
    `overlap`: share of each organization's data, and of its questions, that concerns all; the rest is
    its own. `redundancy`: 0 when knowing the common part takes work in proportion to the number of
    organizations, 1 when a few of them know it all.
    `poor_share` of the organizations hold data of which `poor_accuracy` is right.
    `private`: rounds are private. A full round spends `round_epsilon`; `privacy_price` is the cost of
    one unit of epsilon for all of one's data, `privacy_budget` ends one's taking part.
    `withdrawal_rate`: chance in a round that data subjects holding `withdrawn_share` of an
    organization's contribution withdraw. `leave_rate`, `join_rate`: chance that a member leaves with its
    contribution, and that one who left is back.
    `evaluation_noise`: standard deviation of a score's value; values below `evaluation_margin` times
    that count as nothing. `cheats`: how many organizations (from the last) cheat, and how.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    organizations: Annotated[int, Field(ge=2, le=1_000_000)] = 4
    rounds: Annotated[int, Field(ge=1, le=100_000)] = 24
    reward_rule: RewardRule = "shapley"
    reward_per_round: Ether = 1.0
    pool: Ether = 100.0
    per_organization: bool = False
    quality_value: Ether = 0.5
    value_spread: Spread = 0.0
    compute_price: Ether = 0.02
    price_spread: Spread = 0.0
    prices: list[Ether] | None = None
    energy_amplitude: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rounds_per_day: Annotated[int, Field(ge=1, le=10_000)] = 24
    size_spread: Spread = 0.0
    dominant: Annotated[float, Field(ge=0, lt=1)] = 0.0
    overlap: Share = 0.5
    redundancy: Share = 0.0
    poor_share: Share = 0.0
    poor_accuracy: Share = 0.5
    curve: LearningCurve = LearningCurve()
    private: bool = False
    round_epsilon: Annotated[float, Field(ge=0, le=1e3)] = 0.5
    privacy_price: Ether = 0.0
    privacy_budget: Annotated[float, Field(gt=0, le=1e6)] = 8.0
    withdrawal_rate: Share = 0.0
    withdrawn_share: Share = 0.1
    leave_rate: Share = 0.0
    join_rate: Share = 0.0
    evaluation_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    evaluation_margin: Annotated[float, Field(ge=0, le=10)] = 1.0
    cheats: dict[Conduct, Annotated[int, Field(ge=0)]] = {}

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if sum(self.cheats.values()) >= self.organizations:
            raise ValueError(
                f"cheats: {sum(self.cheats.values())} of {self.organizations} organizations cheat. "
                "At least one must be honest"
            )
        if self.prices is not None and len(self.prices) != self.organizations:
            raise ValueError(
                f"prices has {len(self.prices)} values for {self.organizations} organizations"
            )
        if not self.private and self.privacy_price > 0:
            raise ValueError("privacy_price has no effect where private is false")
        if self.dominant and self.dominant * self.organizations <= 1:
            raise ValueError(
                f"dominant {self.dominant:g} does not exceed an equal share of "
                f"{self.organizations} organizations"
            )
        return self

    @property
    def money(self) -> tuple[float, float]:
        """The reward of a round and the pool at the start, of the whole consortium."""
        many = self.organizations if self.per_organization else 1
        return self.reward_per_round * many, self.pool * many

    @property
    def common_scale(self) -> float:
        """In full rounds of an organization of mean size."""
        return self.curve.scale * math.pow(self.organizations, 1.0 - self.redundancy)


class Organizations(NamedTuple):
    """What is drawn once for each game and organization: every array is float64 (games, N), `conduct`
    int8. `size` has mean 1 within a game."""

    size: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    price: NDArray[np.float64]
    phase: NDArray[np.float64]
    value: NDArray[np.float64]
    conduct: NDArray[np.int8]


def draw(config: GameConfig, seeds: NDArray[np.uint64]) -> Organizations:
    """The organizations of each seed: one game's do not depend on which others are drawn with it."""
    games = [_draw(config, int(seed)) for seed in seeds]
    return Organizations(*(np.stack(column) for column in zip(*games, strict=True)))


def _draw(config: GameConfig, seed: int) -> tuple[NDArray[np.generic], ...]:
    n, dice = config.organizations, np.random.Generator(np.random.PCG64([seed, 0]))

    def spread(sigma: float) -> NDArray[np.float64]:
        return np.exp(sigma * dice.standard_normal(n) - sigma * sigma / 2)

    size = spread(config.size_spread)
    if config.dominant:
        rest = size[1:].sum()
        size[0] = rest * config.dominant / (1.0 - config.dominant)
    size *= n / size.sum()
    price = config.compute_price * spread(config.price_spread)
    if config.prices is not None:
        price = np.array(config.prices)
    value = config.quality_value * spread(config.value_spread)
    phase = dice.random(n)
    accuracy = np.ones(n)
    poor = dice.permutation(n)[: round(config.poor_share * n)]
    accuracy[poor] = config.poor_accuracy
    conduct = np.zeros(n, dtype=np.int8)
    last = n
    for name, count in sorted(config.cheats.items()):
        conduct[last - count : last] = CONDUCTS.index(name)
        last -= count
    return size, accuracy, price, phase, value, conduct
