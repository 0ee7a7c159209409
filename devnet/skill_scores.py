"""Scores of the heads that are solved from statistics: alone, together and after a removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rescind.contracts import Consortium
from rescind.core import STATISTICS, block
from rescind.core.errors import DataError
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import solvable_statistics
from rescind.devnet.adapters import load_artifact
from rescind.devnet.layout import RunFolder
from rescind.devnet.skill import Labelled, Skill
from rescind.devnet.summary import SkillSummary
from rescind.training import skills
from rescind.withdrawals import terms_of

Tensors = Mapping[str, Any]
"""An adapter or an organization's statistics, by qualified name."""
STATISTICS_PART = 1
"""The part of a contribution that statistics are."""


def skill_scores(
    skill: Skill,
    agreed: StatisticsParameters,
    own: Sequence[Tensors],
    together: Tensors,
    after: Tensors,
    replay: Tensors,
) -> SkillSummary:
    """Return the scores of a skill in a run and its replay.

    Args:
        skill: The skill with its test.
        agreed: What the members agreed on.
        own: The statistics of each organization.
        together: The adapter with the sums of all statistics.
        after: The adapter after the removal of one of them.
        replay: The adapter of the replay.

    Raises:
        DataError: There is no test row or no organization.
    """
    if not skill.test or not own:
        raise DataError("A skill needs a test and an organization that has statistics.")
    task = agreed.tasks[skill.task]

    def score(tensors: Tensors, organizations: int) -> float:
        sums = solvable_statistics(agreed, block(dict(tensors), STATISTICS), organizations)
        served = skills.Skill.of(skill.task, task, sums[skill.task], agreed.ridge)
        return score_of(skill.test, served)

    alone = [score(tensors, 1) for tensors in own]
    return SkillSummary(
        task=skill.task,
        labels=len(task.labels),
        questions=len(skill.test),
        alone=float(np.mean(alone)),
        together=score(together, len(own)),
        after=score(after, len(own) - 1),
        replay=score(replay, len(own) - 1),
    )


def own_statistics(run: RunFolder, consortium: Consortium, model_id: int) -> list[Tensors]:
    """Return the statistics of each organization in a model, from the artifacts that it registered.

    Raises:
        StoreError: An artifact is missing in the run's store, or was changed.
    """
    terms = terms_of(consortium, consortium.content(model_id, STATISTICS_PART))
    return [load_artifact(run, term.artifact_id) for term in terms]


def score_of(test: Sequence[Labelled], served: skills.Skill) -> float:
    """Return the share of a test's rows that a served skill gives their label."""
    answers = served.answers([row.text for row in test])
    right = sum(answer.label == row.label for answer, row in zip(answers, test, strict=True))
    return right / len(test)
