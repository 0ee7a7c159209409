"""Learners around the table: episodes of the game, learned from or only watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rescind.agents.game import Floats, Game
from rescind.agents.interface import EFFORTS, FRACTIONS, NOISES
from rescind.agents.learners import Learner, Oracle, Place

_Number = TypeVar("_Number", np.float64, np.int8)


@dataclass(frozen=True)
class Seated:
    """A learner on `seats` organizations from `first`."""

    learner: Learner
    first: int
    seats: int

    def of(self, array: NDArray[_Number]) -> NDArray[_Number]:
        """Its seats' part of an array (games, organizations, ...)."""
        if self.seats == array.shape[1]:
            return array
        return np.ascontiguousarray(array[:, self.first : self.first + self.seats])


@dataclass(frozen=True)
class Played:
    """The results of played episodes, by name.

    Attributes:
        by_round: float64 of shape (episodes, rounds, games).
        by_organization: float64 of shape (games, organizations): an episode's total, as its mean over
            the episodes. `rounds_in` counts the rounds that an organization took part in.
    """

    by_round: dict[str, Floats]
    by_organization: dict[str, Floats]

    @classmethod
    def joined(cls, parts: Sequence[Played]) -> Played:
        """Of games that were played one by one."""
        first = parts[0]
        return cls(
            {n: np.concatenate([p.by_round[n] for p in parts], axis=-1) for n in first.by_round},
            {
                n: np.concatenate([p.by_organization[n] for p in parts])
                for n in first.by_organization
            },
        )


def sit(
    game: Game, learner: Learner, first: int = 0, seats: int | None = None, *, start: bool = True
) -> Seated:
    """Put a learner on `seats` organizations from `first` (all when None), fresh if `start`."""
    count = game.config.organizations - first if seats is None else seats
    if start:
        learner.start(Place(game.seeds, count, game.open_actions, first))
    return Seated(learner, first, count)


def play(
    game: Game,
    table: Sequence[Seated],
    episodes: int,
    *,
    learning: Sequence[bool],
    first_episode: int = 0,
) -> Played:
    """Play episodes of a game.

    Args:
        game: The game.
        table: The learners with their seats. Every organization needs a seat; where two learners share
            one, the later decides.
        episodes: How many episodes to play.
        learning: Which learners of the table explore and learn. The others do what they know.
        first_episode: Number of the first episode, from which its chances follow.
    """
    seated = {n for it in table for n in range(it.first, it.first + it.seats)}
    if seated != set(range(game.config.organizations)):
        raise ValueError(
            f"only {len(seated)} of {game.config.organizations} organizations have a learner"
        )
    rounds, games = game.config.rounds, game.seeds.size
    by_round = {name: np.zeros((episodes, rounds, games)) for name in _BY_ROUND}
    by_organization = {
        name: np.zeros((games, game.config.organizations)) for name in _BY_ORGANIZATION
    }
    for episode in range(episodes):
        features = game.reset(first_episode + episode).copy()
        for it in table:
            if isinstance(it.learner, Oracle):
                it.learner.watch(game)
        for round_ in range(rounds):
            clock = (first_episode + episode) * rounds + round_ + 1
            actions = np.empty(features.shape[:2], dtype=np.int8)
            for it, learns in zip(table, learning, strict=True):
                chosen = it.learner.choose(it.of(features), clock, explore=learns)
                actions[:, it.first : it.first + it.seats] = chosen
            members = np.maximum(1, game.state.member.sum(axis=1))
            step = game.step(actions)
            after = game.observe()
            for it, learns in zip(table, learning, strict=True):
                if learns:
                    it.learner.learn(
                        it.of(features),
                        it.of(step.acted),
                        it.of(step.reward),
                        it.of(after),
                        clock,
                    )
            by_round["participation"][episode, round_] = (step.acted > 0).sum(axis=1) / members
            by_round["members"][episode, round_] = members
            by_round["quality"][episode, round_] = game.state.quality.mean(axis=1)
            by_round["paid"][episode, round_] = step.paid.sum(axis=1)
            least = np.where(step.acted > 0, step.paid, np.inf).min(axis=1)
            by_round["least_paid"][episode, round_] = np.where(np.isinf(least), 0.0, least)
            by_round["most_paid"][episode, round_] = step.paid.max(axis=1)
            by_round["welfare"][episode, round_] = (step.reward - step.paid).sum(axis=1)
            by_organization["net"] += step.reward
            by_organization["paid"] += step.paid
            by_organization["cost"] += step.compute + step.privacy
            by_organization["gain"] += step.gain
            by_organization["rounds_in"] += step.acted > 0
            for name, levels in _LEVELS.items():
                by_organization[name] += levels[step.acted]
            features[...] = after
    for total in by_organization.values():
        total /= episodes
    return Played(by_round, by_organization)


_BY_ROUND = (
    "participation",
    "members",
    "quality",
    "paid",
    "least_paid",
    "most_paid",
    "welfare",
)
_LEVELS = {"effort": EFFORTS, "data_fraction": FRACTIONS, "noise": NOISES}
_BY_ORGANIZATION = ("net", "paid", "cost", "gain", "rounds_in", *_LEVELS)
