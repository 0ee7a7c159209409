"""Scores of the heads that are solved from statistics: alone, together and after a removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import DataError
from rescind.core.features import feature_rows
from rescind.core.statistics import Classes, RowStatistics
from rescind.devnet.skill import Labelled, Skill
from rescind.training.heads import solve

Tensors = Mapping[str, NDArray[Any]]
"""The tensors of one task's statistics, by bare name without the task's."""


@dataclass(frozen=True)
class SkillScores:
    """Shares of test rows that get their label, 0..1.

    Attributes:
        task: Name of the task.
        labels: Number of agreed labels.
        questions: Number of test rows.
        alone: The mean over the organizations of what the head of its own statistics gets.
        together: The head of all statistics.
        after: The head after the removal.
        replay: The head of a run that the organization was never in.
    """

    task: str
    labels: int
    questions: int
    alone: float
    together: float
    after: float
    replay: float


def skill_scores(
    skill: Skill,
    classes: Classes,
    own: Mapping[str, Tensors],
    together: Tensors,
    after: Tensors,
    replay: Tensors,
) -> SkillScores:
    """Return the scores of a skill in a run and its replay.

    Args:
        skill: The skill with its test.
        classes: The agreed task.
        own: Each organization's statistics, by name.
        together: The sums of all statistics.
        after: The sums after the removal.
        replay: The sums of the replay.

    Raises:
        DataError: There is no test row or no organization, or statistics have no rows.
    """
    if not skill.test or not own:
        raise DataError("A skill needs a test and an organization that has statistics.")
    asked = Asked.of(classes, skill.test)
    alone = [asked.score(tensors) for tensors in own.values()]
    return SkillScores(
        task=skill.task,
        labels=len(classes.labels),
        questions=len(skill.test),
        alone=float(np.mean(alone)),
        together=asked.score(together),
        after=asked.score(after),
        replay=asked.score(replay),
    )


@dataclass(frozen=True, eq=False)
class Asked:
    """The test of a skill, as features.

    Attributes:
        classes: The task.
        features: int64 (rows, dimensions).
        wanted: The label of each row.
    """

    classes: Classes
    features: NDArray[np.int64]
    wanted: tuple[str, ...]

    @classmethod
    def of(cls, classes: Classes, test: Sequence[Labelled]) -> Asked:
        """Return the features and labels of test rows."""
        features = feature_rows(classes.features, [row.text for row in test])
        return cls(classes, features, tuple(row.label for row in test))

    def score(self, tensors: Tensors) -> float:
        """Return the share of rows that the head of statistics gives their label.

        A label without rows is never given. Among equal scores, the first label counts.

        Raises:
            NotSolvable: The statistics have no rows.
        """
        statistics = RowStatistics.of_tensors(tensors)
        least = np.iinfo(np.int64).min
        scores = np.where(statistics.counts > 0, solve(statistics).scores(self.features), least)
        given = [self.classes.labels[int(place)] for place in scores.argmax(axis=1)]
        right = sum(label == wanted for label, wanted in zip(given, self.wanted, strict=True))
        return right / len(self.wanted)
