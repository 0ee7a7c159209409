"""Arrays of the participation game: its state, a round's results, and its parameters as numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Actions = NDArray[np.int8]


class Step(NamedTuple):
    """Results of one round, each array (games, organizations).

    Attributes:
        acted: The actions that were carried out, int8: absent members and those without privacy
            budget sit out, whatever they chose.
        paid: Pay by the contract, in ether, float64 like all that follow.
        compute: Compute cost, in ether.
        privacy: Privacy cost, in ether.
        fees: Gas, the cost of the bond, and a penalty, in ether.
        gain: Value of the change in quality, in ether.
        score: Scores as the aggregator states them, whole numbers from 0 to 10,000.
        forfeited: Penalties of the round, in ether (games,). They are in the fees and in the pool.
    """

    acted: Actions
    paid: Floats
    compute: Floats
    privacy: Floats
    fees: Floats
    gain: Floats
    score: Floats
    forfeited: Floats

    @property
    def reward(self) -> Floats:
        """Return what the round is worth to each organization, in ether."""
        return self.paid - self.compute - self.privacy - self.fees + self.gain


class State(NamedTuple):
    """Everything that changes from round to round.

    Attributes:
        own: Own work that an organization's model still holds, in full rounds (games,
            organizations).
        given: Its contribution to the common knowledge, same unit and shape.
        quality: Share of its questions that it answers right, 0 to 1 (games, organizations).
        epsilon: Privacy spent so far (games, organizations).
        member: 1 for members, 0 for those who left, int8 (games, organizations).
        share: Share of the last round's reward, 0 to 1 (games, organizations).
        posted: Rows that its posted statistics are worth, in those of an organization of mean size
            (games, organizations); negative where their labels are wrong.
        credited: The most rows that it has posted, which are not paid again, same unit and shape.
        common: Common knowledge, in full rounds (games,).
        pool: Ether left in the reward pool (games,).
        participants: Number of accepted updates in the last round (games,).
    """

    own: Floats
    given: Floats
    quality: Floats
    epsilon: Floats
    member: NDArray[np.int8]
    share: Floats
    posted: Floats
    credited: Floats
    common: Floats
    pool: Floats
    participants: Floats


class Parameters(NamedTuple):
    """GameConfig as numbers for the kernels.

    The first seven are by action, (actions,). `gas`, and `early_gas`, what is spent before a
    reveal, are in ether.
    """

    effort: Floats
    fraction: Floats
    work: Floats
    epsilon: Floats
    posts: Floats
    gas: Floats
    early_gas: Floats
    claim: float
    capital: float
    unrevealed_rate: float
    penalty: float
    statistics: float
    statistics_price: float
    statistics_epsilon: float
    statistics_scale: float
    statistics_shape: float
    rule: int
    reward: float
    energy_amplitude: float
    rounds_per_day: float
    overlap: float
    ceiling: float
    scale: float
    shape: float
    common_scale: float
    privacy_price: float
    privacy_budget: float
    withdrawal_rate: float
    withdrawn_share: float
    leave_rate: float
    join_rate: float
    evaluation_noise: float
    evaluation_margin: float


class Scratch(NamedTuple):
    """Values of a round's updates, in full rounds (games, organizations).

    Attributes:
        alone: What an update seems to add by itself; scoring overwrites it.
        marginal: What it adds beside the others.
        posted: What its posted statistics add beside the others', in rows.
        worth: What they are worth, 0 to 1.
        accepted: 1 where an update was accepted, int8.
    """

    alone: Floats
    marginal: Floats
    posted: Floats
    worth: Floats
    accepted: NDArray[np.int8]
