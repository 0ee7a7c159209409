"""Skills that are served from summed statistics: questions of agreed tasks, answered by their heads.

The head chooses among the labels, and the answer is the text of the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core.features import HiddenSource, feature_rows
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import Task
from rescind.training.heads import Head, solve
from rescind.training.ridges import RidgeRule, agreed_ridge

_NEVER = -(2**63)
"""Stands for the score of a label without rows."""


@dataclass(frozen=True)
class SkillAnswer:
    """The answer to a question of a task, and what it rests on.

    Attributes:
        task: The task's name.
        text: The part of the question that the features are made of.
        label: The answer; None if no label of the task has rows.
        scores: The score of each label that has rows. With one row for each text, a score is an
            estimate of the share of such texts that have the label.
        margin: The best score less the second best; None if there is no second.
        rows: The rows that the head was solved from.
    """

    task: str
    text: str
    label: str | None
    scores: Mapping[str, float]
    margin: float | None
    rows: int

    @property
    def reason(self) -> str:
        """Why the answer is what it is, as a sentence."""
        if self.label is None:
            return f"No organization has contributed rows of the task {self.task!r}."
        best = f"The head of the task {self.task!r}, solved from {self.rows} rows, gives"
        if self.margin is None:
            return f"{best} {self.label!r}, the only label with rows."
        ranked = sorted(self.scores, key=lambda label: (-self.scores[label], label))
        other = next(label for label in ranked if label != self.label)
        return (
            f"{best} {self.label!r} a score of {self.scores[self.label]:.2f}, "
            f"{self.margin:.2f} more than {other!r}."
        )


@dataclass(frozen=True)
class Skill:
    """A task with the head of the summed statistics.

    Attributes:
        name: The task's name.
        task: The agreed task.
        head: The head; None if there are no rows.
        counts: The rows of each label.
    """

    name: str
    task: Task
    head: Head | None
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, name: str, task: Task, statistics: RowStatistics, rule: RidgeRule) -> Skill:
        """Return the skill of a task's summed statistics.

        Raises:
            NotSolvable: No head can be solved from them.
        """
        # Noise may leave fewer than no rows.
        seen = statistics.rows > 0
        head = solve(statistics, ridge=agreed_ridge(statistics, rule)) if seen else None
        return cls(name, task, head, statistics.counts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that have rows; no other one is ever an answer."""
        return tuple(
            label for label, count in zip(self.task.labels, self.counts, strict=True) if count > 0
        )

    def answers(
        self, texts: Sequence[str], hidden: HiddenSource | None = None
    ) -> list[SkillAnswer]:
        """Return the answers to texts.

        Args:
            texts: What the features are made of.
            hidden: Computes hidden states, where the task's features need them.

        Raises:
            NeedsBase: They do, and `hidden` is missing.
            NotSolvable: A score may not fit 64 bits.
        """
        if self.head is None:
            return [SkillAnswer(self.name, text, None, {}, None, 0) for text in texts]
        rows = self.task.cut(feature_rows(self.task.features, texts, hidden))
        scores = self.head.scores(rows)
        scores[:, self.counts <= 0] = _NEVER
        return [self._answer(self.head, text, row) for text, row in zip(texts, scores, strict=True)]

    def _answer(self, head: Head, text: str, scores: NDArray[np.int64]) -> SkillAnswer:
        # Of equal scores the first label wins, so that every server gives the same answer.
        best = int(scores.argmax())
        unit = 2.0**-head.scale_bits
        held = [place for place in range(len(scores)) if self.counts[place] > 0]
        others = [int(scores[place]) for place in held if place != best]
        return SkillAnswer(
            task=self.name,
            text=text,
            label=self.task.labels[best],
            scores={self.task.labels[place]: int(scores[place]) * unit for place in held},
            margin=(int(scores[best]) - max(others)) * unit if others else None,
            rows=int(self.counts.sum()),
        )


@dataclass(frozen=True)
class Skills:
    """The skills of a model.

    Attributes:
        skills: Each task's skill, by name.
        hidden: Computes hidden states, where a task's features need them.
    """

    skills: Mapping[str, Skill]
    hidden: HiddenSource | None = None

    @property
    def head_ids(self) -> dict[str, str]:
        """The SHA-256 of each head that there is, by task."""
        return {name: skill.head.id for name, skill in self.skills.items() if skill.head}

    def find(self, question: str) -> tuple[Skill, str] | None:
        """Return the skill that a question belongs to and its text; None if it belongs to none."""
        for skill in self.skills.values():
            text = skill.task.text_of(question)
            if text is not None:
                return skill, text
        return None

    def answer(self, question: str) -> SkillAnswer | None:
        """Return the answer to a question; None if it belongs to no task.

        Raises:
            NeedsBase: The task's features need the base model.
        """
        skill_and_text = self.find(question)
        if skill_and_text is None:
            return None
        skill, text = skill_and_text
        return skill.answers([text], self.hidden)[0]
