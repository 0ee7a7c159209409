"""Routers that score each block by itself on one forward pass of the bare base model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ConfigError
from rescind.training.routers.router import Blocks, Choice, RouterMisfit

FALSE_RATE = 0.05
"""Share of nobody's questions that may go to somebody's block."""

Scores = dict[str, NDArray[np.float64]]


class ScoringRouter(ABC):
    """The block with the highest score answers, if the score is above a threshold.

    `reference`: questions that are nobody's and known to all. Its first half is for what a kind of
    router learns from them; of the second half a share `false_rate` goes to some block, and that sets
    the threshold: the quantile over these questions of the best score. Each organization's scores on
    them are held under its name and dropped with it. Without a reference a block always answers.

    Raises ConfigError for a rate outside 0..1, or a reference of fewer than four questions.
    """

    name: str

    def __init__(self, reference: Sequence[str] = (), *, false_rate: float = FALSE_RATE) -> None:
        if not 0 <= false_rate <= 1:
            raise ConfigError(f"false_rate is {false_rate}, a share of questions is within 0..1")
        if reference and len(reference) < 4:
            raise ConfigError(
                f"the reference has {len(reference)} questions: give at least 4, better hundreds"
            )
        half = len(reference) // 2
        self.false_rate = false_rate
        self._learned_from = tuple(reference[:half])
        self._checked_on = tuple(reference[half:])
        self._checks: Scores = {}
        self._blocks: Blocks | None = None

    @property
    def organizations(self) -> tuple[str, ...]:
        return tuple(sorted(self._checks))

    def fit(self, blocks: Blocks) -> None:
        names = tuple(sorted(blocks.blocks))
        self._blocks = blocks
        self._clear()
        self._learn(blocks, names)
        self._checks = (
            self._scores(blocks, names, self._checked_on)
            if self._checked_on
            else {name: np.empty(0) for name in names}
        )

    def drop(self, organization: str) -> None:
        self._checks.pop(organization.lower(), None)
        self._forget(organization.lower())

    def route(self, questions: Sequence[str]) -> list[Choice]:
        blocks = self._blocks
        if blocks is None:
            raise RouterMisfit(f"the {self.name} router has no blocks yet: call fit first")
        if not self._checks or not questions:
            return [Choice(None, {}) for _ in questions]
        scores = self._scores(blocks, self.organizations, questions)
        least = threshold(self._checks, self.false_rate)
        return [_choose(scores, place, least) for place in range(len(questions))]

    def state(self) -> dict[str, NDArray[np.float64]]:
        checks = {f"{name}/checks": value for name, value in self._checks.items()}
        return dict(sorted({**checks, **self._state()}.items()))

    @abstractmethod
    def _clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _learn(self, blocks: Blocks, names: Sequence[str]) -> None:
        """Take what there is to hold of each organization."""

    @abstractmethod
    def _forget(self, name: str) -> None:
        """Forget one organization, if it is held."""

    @abstractmethod
    def _scores(self, blocks: Blocks, names: Sequence[str], questions: Sequence[str]) -> Scores:
        """Scores of each block, (questions,), none of which depends on another block."""

    @abstractmethod
    def _state(self) -> dict[str, NDArray[np.float64]]:
        """What is held, by "organization/name"; what is nobody's begins with "reference/"."""


def threshold(checks: Mapping[str, NDArray[np.float64]], false_rate: float) -> float:
    """The score that the best block exceeds on a share `false_rate` of the reference questions."""
    values = [checks[name] for name in sorted(checks)]
    if not values or not values[0].size:
        return -np.inf
    return float(np.quantile(np.max(values, axis=0), 1.0 - false_rate, method="higher"))


def _choose(scores: Scores, place: int, least: float) -> Choice:
    mine = {name: float(values[place]) for name, values in scores.items()}
    best = max(sorted(mine), key=lambda name: mine[name])
    return Choice(best if mine[best] > least else None, mine)
