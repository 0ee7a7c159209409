"""Episodes of the game, played by learners that learn from them or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rescind.agents.game import Actions, Floats, Game, Step
from rescind.agents.learners import Learner, Oracle, Seating

_Number = TypeVar("_Number", np.float64, np.int8)


@dataclass(frozen=True)
class Seated:
    """A learner with its seats.

    Attributes:
        learner: The learner.
        first: Its first organization.
        seats: Number of its organizations.
    """

    learner: Learner
    first: int
    seats: int

    def of(self, array: NDArray[_Number]) -> NDArray[_Number]:
        """Return the seats' part of an array (games, organizations, ...)."""
        if self.seats == array.shape[1]:
            return array
        return np.ascontiguousarray(array[:, self.first : self.first + self.seats])


@dataclass(frozen=True)
class Played:
    """The results of played episodes, by name.

    Attributes:
        by_round: float64 of shape (episodes, rounds, games).
        by_organization: float64 of shape (games, organizations): totals of an episode, as means
            over the episodes. `rounds_in` counts the rounds that an organization took part in.
    """

    by_round: dict[str, Floats]
    by_organization: dict[str, Floats]

    @classmethod
    def joined(cls, parts: Sequence[Played]) -> Played:
        """Return the results of games that were played separately, as if played together."""
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
    """Put a learner on seats of a game.

    Args:
        game: The game.
        learner: The learner.
        first: Its first organization.
        seats: Number of its organizations; None for all from `first`.
        start: Reset what it learned. A learner that was started on these seats may keep it.
    """
    count = game.config.organizations - first if seats is None else seats
    if start:
        learner.start(Seating(game.seeds, count, game.open_actions, first))
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
        table: The learners with their seats. Every organization needs a learner; where two have the
            same organization, the later one decides for it.
        episodes: How many episodes to play.
        learning: Which learners of the table explore and learn. The others do what they know.
        first_episode: Number of the first episode, which decides its random events.

    Raises:
        ValueError: An organization has no learner.
    """
    seated = {n for entry in table for n in range(entry.first, entry.first + entry.seats)}
    if seated != set(range(game.config.organizations)):
        raise ValueError(
            f"Only {len(seated)} of {game.config.organizations} organizations have a learner. "
            "Give each a seat at the table."
        )
    tally = _Tally(game, episodes)
    for episode in range(episodes):
        # A copy, because the game overwrites its features and learners need those from before.
        features = game.reset(first_episode + episode).copy()
        for entry in table:
            if isinstance(entry.learner, Oracle):
                entry.learner.watch(game)
        for round_ in range(game.config.rounds):
            clock = (first_episode + episode) * game.config.rounds + round_ + 1
            actions = _actions(table, learning, features, clock)
            members = np.maximum(1, game.state.member.sum(axis=1))
            step = game.step(actions)
            after = game.observe()
            for entry, learns in zip(table, learning, strict=True):
                if learns:
                    entry.learner.learn(
                        entry.of(features),
                        entry.of(step.acted),
                        entry.of(step.reward),
                        entry.of(after),
                        clock,
                    )
            tally.add(episode, round_, step, members)
            features[...] = after
    return tally.played()


def _actions(
    table: Sequence[Seated], learning: Sequence[bool], features: Floats, clock: int
) -> Actions:
    """Return what the learners choose for a round, int8 (games, organizations)."""
    actions = np.empty(features.shape[:2], dtype=np.int8)
    for entry, learns in zip(table, learning, strict=True):
        chosen = entry.learner.choose(entry.of(features), clock, explore=learns)
        actions[:, entry.first : entry.first + entry.seats] = chosen
    return actions


_BY_ROUND = (
    "participation",
    "members",
    "quality",
    "paid",
    "least_paid",
    "most_paid",
    "welfare",
    "posted",
)
_LEVELS = ("effort", "data_fraction", "noise", "statistics")
_BY_ORGANIZATION = ("net", "paid", "cost", "gain", "rounds_in", *_LEVELS)


class _Tally:
    """The results of episodes while they are played."""

    def __init__(self, game: Game, episodes: int) -> None:
        self._game, self._episodes = game, episodes
        games, n = game.seeds.size, game.config.organizations
        shape = (episodes, game.config.rounds, games)
        self._by_round = {name: np.zeros(shape) for name in _BY_ROUND}
        self._by_organization = {name: np.zeros((games, n)) for name in _BY_ORGANIZATION}

    def add(self, episode: int, round_: int, step: Step, members: NDArray[np.int64]) -> None:
        """Add a round. `members` (games,) is how many there were before it, at least 1."""
        took_part = step.acted > 0
        # Of those who took part; 0 where no organization did.
        least = np.where(took_part, step.paid, np.inf).min(axis=1)
        values = {
            "participation": took_part.sum(axis=1) / members,
            "members": members,
            "quality": self._game.state.quality.mean(axis=1),
            "paid": step.paid.sum(axis=1),
            "least_paid": np.where(np.isinf(least), 0.0, least),
            "most_paid": step.paid.max(axis=1),
            # Pay and penalties only move money.
            "welfare": (step.reward - step.paid).sum(axis=1) + step.forfeited,
            "posted": self._posted(),
        }
        for name, value in values.items():
            self._by_round[name][episode, round_] = value
        totals = self._by_organization
        totals["net"] += step.reward
        totals["paid"] += step.paid
        totals["cost"] += step.compute + step.privacy + step.fees
        totals["gain"] += step.gain
        totals["rounds_in"] += took_part
        for name in _LEVELS:
            totals[name] += self._game.levels[name][step.acted]

    def _posted(self) -> Floats:
        """Return the share of all rows whose statistics are posted, (games,)."""
        rows = np.maximum(self._game.state.posted, 0.0)
        return np.asarray(rows.sum(axis=1) / self._game.organizations.size.sum(axis=1))

    def played(self) -> Played:
        """Return the results, with means over the episodes."""
        means = {name: total / self._episodes for name, total in self._by_organization.items()}
        return Played(self._by_round, means)
