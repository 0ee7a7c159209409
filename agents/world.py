"""The parameters of the participation game, and the organizations that are drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.agents.chain_terms import BOND, UNREVEALED_PENALTY
from rescind.agents.curves import LearningCurve
from rescind.agents.interface import open_actions
from rescind.core.frozen import Frozen

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
    "empty-statistics",
    "copied-statistics",
    "scaled-statistics",
    "swapped-statistics",
]

CONDUCTS: tuple[Conduct, ...] = get_args(Conduct)


class Effect(NamedTuple):
    """The effect of a conduct, in shares of what honest training would have.

    Attributes:
        accepted: 1 if the chain accepts the update, else 0.
        alone: What the update seems to add by itself.
        marginal: What it adds beside the others' updates.
        cost: Compute and epsilon that it takes.
        posted: What they add beside the others' statistics.
    """

    accepted: int
    alone: float
    marginal: float
    cost: float
    posted: float


EFFECTS: Mapping[Conduct, Effect] = {
    "honest": Effect(1, 1.0, 1.0, 1.0, 1.0),
    # The chain rejects an update of zeros, and one that was registered before.
    "zero": Effect(0, 0.0, 0.0, 0.0, 0.0),
    "random": Effect(1, 0.0, 0.0, 0.0, 0.0),
    # A copy looks as good as its original, but adds nothing beside it.
    "copied": Effect(1, 1.0, 0.0, 0.0, 0.0),
    "replayed": Effect(0, 0.0, 0.0, 0.0, 0.0),
    # To flip an update's sign, it must be trained first.
    "sign-flipped": Effect(1, -1.0, -1.0, 1.0, -1.0),
    "duplicated": Effect(1, 1.0, 0.0, 0.0, 0.0),
    "stale": Effect(1, 0.5, 0.0, 0.0, 0.0),
    # These train honestly, and fabricate only the statistics.
    "empty-statistics": Effect(1, 1.0, 1.0, 1.0, 0.0),
    # The aggregator takes rows that the sum holds already out of what is posted.
    "copied-statistics": Effect(1, 1.0, 1.0, 1.0, 0.0),
    # Rows that count many times hold no more than rows that count once.
    "scaled-statistics": Effect(1, 1.0, 1.0, 1.0, 1.0),
    "swapped-statistics": Effect(1, 1.0, 1.0, 1.0, -1.0),
}

# By index into CONDUCTS, as the kernels need them.
ACCEPTED = np.array([EFFECTS[conduct].accepted for conduct in CONDUCTS], dtype=np.int8)
ALONE = np.array([EFFECTS[conduct].alone for conduct in CONDUCTS])
MARGINAL = np.array([EFFECTS[conduct].marginal for conduct in CONDUCTS])
COST = np.array([EFFECTS[conduct].cost for conduct in CONDUCTS])
POSTED = np.array([EFFECTS[conduct].posted for conduct in CONDUCTS])

Share = Annotated[float, Field(ge=0, le=1)]
Ether = Annotated[float, Field(ge=0, le=1e6)]
Spread = Annotated[float, Field(ge=0, le=3)]


class StatisticsTerms(Frozen):
    """Statistics of rows in the game: what is answered from their sums, and the cost of posting.

    Heads answer a share of the common questions. They answer 1 - exp(-(x / scale)^shape) of it
    right, where x is the share of all rows whose statistics are posted. The defaults of `scale` and
    `shape` are fitted to the coalitions of six organizations in scores-sums.json.

    Attributes:
        share: Share of the common questions that heads answer.
        scale: Share of all rows from which 1 - 1/e is answered right.
        shape: Steepness.
        price: Cost of posting, as a share of the cost of a round at full effort.
        epsilon: Epsilon that posting spends where rounds are private: the one-time noise.
    """

    share: Share = 0.5
    scale: Annotated[float, Field(gt=0, le=100)] = 0.72
    shape: Annotated[float, Field(ge=0.1, le=10)] = 0.69
    price: Annotated[float, Field(ge=0, le=10)] = 0.05
    epsilon: Annotated[float, Field(ge=0, le=1e3)] = 0.5


class GameConfig(Frozen):
    """The configuration of a game of participation.

    Money is in ether. A *spread* is the sigma of a log-normal factor of mean 1, drawn once for each
    organization.

    Attributes:
        organizations: Number of organizations.
        rounds: Length of the game.
        reward_rule: How scores are computed. The contract's rule always decides what a score pays.
            Statistics are scored by Shapley values under every rule but "equal", as the aggregator
            does.
        reward_per_round: Ether for each round, or for each organization if `per_organization`.
        pool: Ether that the contract holds at the start, or for each organization likewise.
        quality_value: Value to an organization of a model that answers all of its questions.
        compute_price: Cost of a round at full effort. `prices` gives one for each organization
            instead. Energy moves it by `energy_amplitude` over a day of `rounds_per_day` rounds,
            and each organization has its own phase.
        dominant: Share of all data that the first organization holds. 0 singles out no
            organization.
        overlap: Share of each organization's data, and of its questions, that concerns all. The
            rest is its own.
        redundancy: 0 if learning the common part takes work in proportion to the number of
            organizations, 1 if a few of them know it all.
        poor_share: Share of the organizations with poor data, of which only `poor_accuracy` is
            right.
        private: Whether rounds are private. A full round then spends `round_epsilon`.
        privacy_price: Cost of one unit of epsilon for all of an organization's data.
        privacy_budget: Epsilon after which an organization no longer takes part.
        withdrawal_rate: Chance in a round that data subjects who hold `withdrawn_share` of an
            organization's contribution withdraw.
        leave_rate: Chance in a round that a member leaves with its contribution.
        join_rate: Chance in a round that an organization that left comes back.
        evaluation_noise: Standard deviation of a score's value. Values below `evaluation_margin`
            times that count as 0.
        cheats: Number of organizations, from the last, that cheat.
        statistics: What statistics are for and what posting them costs; None where the consortium
            agreed on none.
        gas_price: Price of a unit of gas, in gwei. Chains differ by powers of ten; at 0 transactions
            cost nothing.
        bond: Ether that each member has at stake. It costs `capital_rate` of it in each round.
        unrevealed_rate: Chance that a member which committed does not reveal. Its update is lost,
            and it pays `unrevealed_penalty` into the pool, in ether.
    """

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
    cheats: dict[Conduct, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    statistics: StatisticsTerms | None = None
    gas_price: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    bond: Ether = BOND
    capital_rate: Share = 0.0
    unrevealed_rate: Share = 0.0
    unrevealed_penalty: Ether = UNREVEALED_PENALTY

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
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
        if self.unrevealed_penalty > self.bond:
            raise ValueError(
                f"unrevealed_penalty {self.unrevealed_penalty:g} is more than bond {self.bond:g}"
            )
        return self

    @property
    def open_actions(self) -> int:
        """Size of the set of actions that organizations choose from."""
        return open_actions(private=self.private, statistics=self.statistics is not None)

    @property
    def statistics_scale(self) -> float:
        """Scale of the heads' curve, in rows of organizations of mean size."""
        scale = self.statistics.scale if self.statistics is not None else 1.0
        return scale * math.pow(self.organizations, 1.0 - self.redundancy)

    @property
    def money(self) -> tuple[float, float]:
        """The reward of a round and the pool at the start, of the whole consortium, in ether."""
        factor = self.organizations if self.per_organization else 1
        return self.reward_per_round * factor, self.pool * factor

    @property
    def common_scale(self) -> float:
        """Scale of the common knowledge, in full rounds of an organization of mean size."""
        return self.curve.scale * math.pow(self.organizations, 1.0 - self.redundancy)


class Organizations(NamedTuple):
    """Properties drawn once for each game and organization, float64 (games, organizations).

    Attributes:
        size: Size of the data; the mean of a game is 1.
        accuracy: Share of the data that is right, 0 to 1.
        price: Cost of a round at full effort, in ether, before energy.
        phase: Phase of its energy price, in days, 0 to 1.
        value: Value of a model that answers all of its questions, in ether.
        conduct: Index into CONDUCTS, int8.
    """

    size: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    price: NDArray[np.float64]
    phase: NDArray[np.float64]
    value: NDArray[np.float64]
    conduct: NDArray[np.int8]


def draw(config: GameConfig, seeds: NDArray[np.uint64]) -> Organizations:
    """Draw the organizations of each seed, which depend on no other seed."""
    games = [_draw(config, int(seed)) for seed in seeds]
    return Organizations(*(np.stack(column) for column in zip(*games, strict=True)))


def _draw(config: GameConfig, seed: int) -> tuple[NDArray[np.generic], ...]:
    # The order of the draws is part of every result: a draw that is added must come last.
    n, rng = config.organizations, np.random.Generator(np.random.PCG64([seed, 0]))

    def spread(sigma: float) -> NDArray[np.float64]:
        return np.exp(sigma * rng.standard_normal(n) - sigma * sigma / 2)

    size = spread(config.size_spread)
    if config.dominant:
        rest = size[1:].sum()
        size[0] = rest * config.dominant / (1.0 - config.dominant)
    size *= n / size.sum()
    price = config.compute_price * spread(config.price_spread)
    if config.prices is not None:
        price = np.array(config.prices)
    value = config.quality_value * spread(config.value_spread)
    phase = rng.random(n)
    accuracy = np.ones(n)
    poor = rng.permutation(n)[: round(config.poor_share * n)]
    accuracy[poor] = config.poor_accuracy
    conduct = np.zeros(n, dtype=np.int8)
    last = n
    for name, count in sorted(config.cheats.items()):
        conduct[last - count : last] = CONDUCTS.index(name)
        last -= count
    return size, accuracy, price, phase, value, conduct
