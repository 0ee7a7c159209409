"""Routers that score each block by itself on one forward pass of the bare base model.

Research: no daemon uses this yet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ConfigError
from rescind.training.routers.router import Blocks, Choice, RouterMisfit
from rescind.training.text.question import Question, question_text

FALSE_RATE = 0.05
"""The share of questions outside all data that may go to some block."""

Scores = dict[str, NDArray[np.float64]]


class ScoringRouter(ABC):
    """A router whose highest-scoring block answers, if its score is above a threshold.

    The first half of the reference is for what a kind of router learns from it. The second half
    sets the threshold: the quantile of the best score at which a share `false_rate` of these
    questions goes to some block. Each organization's scores on them are kept under its name and
    dropped with it. Without a reference a block always answers.

    Args:
        reference: Public questions that belong to no organization's data.
        false_rate: The share of them that may go to some block, 0..1.

    Raises:
        ConfigError: The rate is outside 0..1, or the reference has fewer than four questions.
    """

    name: str

    def __init__(self, reference: Sequence[str] = (), *, false_rate: float = FALSE_RATE) -> None:
        if not 0 <= false_rate <= 1:
            raise ConfigError(
                f"false_rate is {false_rate}. It is a share of questions, within 0..1."
            )
        if reference and len(reference) < 4:
            raise ConfigError(
                f"The reference has {len(reference)} questions. Give at least 4, better hundreds."
            )
        half = len(reference) // 2
        self.false_rate = false_rate
        self._learned_from = tuple(reference[:half])
        self._checked_on = tuple(reference[half:])
        self._checks: Scores = {}
        self._blocks: Blocks | None = None

    @property
    @abstractmethod
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""

    @property
    def organizations(self) -> tuple[str, ...]:
        """Organizations that can be chosen, lowercase and sorted."""
        return tuple(sorted(self._checks))

    def fit(self, blocks: Blocks) -> None:
        """Reset all state and prepare to choose among these blocks."""
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
        """Forget everything of an organization. An unknown one changes nothing."""
        self._checks.pop(organization.lower(), None)
        self._forget(organization.lower())

    def route(self, questions: Sequence[Question]) -> list[Choice]:
        """Return one choice for each question, without the turns before it.

        Raises RouterMisfit before `fit`.
        """
        blocks = self._blocks
        if blocks is None:
            raise RouterMisfit(f"The {self.name} router has no blocks yet: call fit first.")
        if not self._checks or not questions:
            return [Choice(None, {}) for _ in questions]
        scores = self._scores(blocks, self.organizations, [question_text(q) for q in questions])
        least = threshold(self._checks, self.false_rate)
        rule = f"the best block's score on all but {self.false_rate:.0%} of public questions"
        return [_choose(scores, index, least, rule) for index in range(len(questions))]

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return all numbers held besides the blocks themselves, by "organization/name"."""
        checks = {f"{name}/checks": value for name, value in self._checks.items()}
        return dict(sorted({**checks, **self._state()}.items()))

    @abstractmethod
    def _clear(self) -> None:
        """Forget everything."""

    @abstractmethod
    def _learn(self, blocks: Blocks, names: Sequence[str]) -> None:
        """Compute the state of each organization."""

    @abstractmethod
    def _forget(self, name: str) -> None:
        """Forget one organization, if it is known."""

    @abstractmethod
    def _scores(self, blocks: Blocks, names: Sequence[str], questions: Sequence[str]) -> Scores:
        """Return the scores of each block, (questions,). None may depend on another block."""

    @abstractmethod
    def _state(self) -> dict[str, NDArray[np.float64]]:
        """Return the state by "organization/name", or "reference/name" if it is shared."""


def threshold(checks: Mapping[str, NDArray[np.float64]], false_rate: float) -> float:
    """Return the score that the best block exceeds on a share `false_rate` of the reference."""
    values = [checks[name] for name in sorted(checks)]
    if not values or not values[0].size:
        return -np.inf
    return float(np.quantile(np.max(values, axis=0), 1.0 - false_rate, method="higher"))


def _choose(scores: Scores, index: int, least: float, rule: str) -> Choice:
    own = {name: float(values[index]) for name, values in scores.items()}
    best = max(sorted(own), key=lambda name: own[name])
    chosen = best if own[best] > least else None
    return Choice(chosen, own, float(least), rule) if np.isfinite(least) else Choice(chosen, own)
