"""A skill that organizations learn together: texts with labels, dealt to them, and a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from rescind.core.names import hidden_character
from rescind.core.ngrams import NgramFeatures, fold
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics import MOST_LABEL_CHARACTERS, clean_label
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.devnet.messages import PROMPT, TASK, Mail
from rescind.training import Example

MOST_LABELS = 200
_LEAST_REPEATS = 5
"""Rows of all files that have a label, at least."""
_LABELLED_SHARE = 0.9
"""Share of a file's rows whose answer is a label, at least."""
_MAIL_BUCKETS = 511
"""Enough for messages of a few hundred words, and a head of them is solved in a tenth of a second."""
_LEAST_ROWS = 1024
"""Room for the rows of an organization that has few."""
_DATA_TASK = "answers"
_DATA_PROMPT = "Which answer has the label for this? {text}"


@dataclass(frozen=True)
class Labelled:
    """A text with its label. `subject` names the person whose data it is."""

    text: str
    label: str
    subject: str


@dataclass(frozen=True)
class Skill:
    """A task with labels.

    Attributes:
        task: Its name in the agreed parameters.
        prompt: The form of its questions, with {text} in the place of the text.
        organizations: The rows of each organization that has some, by name.
        test: Rows that no organization has.
        buckets: The number of features.
    """

    task: str
    prompt: str
    organizations: Mapping[str, tuple[Labelled, ...]]
    test: tuple[Labelled, ...]
    buckets: int = 2047

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all organizations, sorted."""
        rows = [row for own in self.organizations.values() for row in own]
        return tuple(sorted({row.label for row in rows}))

    def agreed(self, router: RouterStatistics | None = None) -> StatisticsParameters:
        """Return what the organizations agree on: this task, with hashed n-grams as features.

        Args:
            router: The router of sums, if they agree on one.
        """
        most = max(len(rows) for rows in self.organizations.values())
        task = Task(
            prompt=self.prompt,
            features=NgramFeatures(buckets=self.buckets),
            labels=self.labels,
            max_rows=max(_LEAST_ROWS, 2 * most),
        )
        return StatisticsParameters(tasks={self.task: task}, router=router)

    def of(self, names: Collection[str]) -> Skill:
        """Return the skill with the rows of some organizations only."""
        own = {name: rows for name, rows in self.organizations.items() if name in names}
        return replace(self, organizations=own)

    def task_rows(self) -> dict[str, dict[str, list[Example]]]:
        """Return the rows of each organization's statistics: text, label and subject, by task."""
        return {
            name: {self.task: [Example(row.text, row.label, row.subject) for row in rows]}
            for name, rows in self.organizations.items()
        }

    def questions(self) -> list[Example]:
        """Return the test as questions with answers."""
        return [
            Example(self.prompt.replace("{text}", row.text), row.label, row.subject)
            for row in self.test
        ]


def skill_of_mail(mail: Mail) -> Skill:
    """Return the skill of finding the department of a message."""
    rows = {
        name: tuple(Labelled(m.text, m.department, m.customer) for m in messages)
        for name, messages in mail.organizations.items()
    }
    test = tuple(Labelled(m.text, m.department, m.customer) for m in mail.test)
    return Skill(TASK, PROMPT, rows, test, _MAIL_BUCKETS)


def skill_of_rows(
    rows_of: Mapping[str, Sequence[Example]], test: Sequence[Example]
) -> Skill | None:
    """Return the skill that data files teach, if their answers are labels.

    A label is an answer that five rows of all files have. A file teaches the skill if nine in ten of
    its rows have a label for an answer.

    Args:
        rows_of: The examples of each file.
        test: Examples that are in no file.

    Returns:
        None if no file teaches a skill, if there are fewer than 2 or more than 200 labels, or if no
        test has one.
    """
    spelling = _spellings([row for rows in rows_of.values() for row in _askable(rows)])
    asked = {name: _spelled(_askable(rows), spelling) for name, rows in rows_of.items()}
    counts = Counter(row.answer for rows in asked.values() for row in rows)
    taught: dict[str, tuple[Labelled, ...]] = {}
    for name, rows in asked.items():
        labelled = [
            row
            for row in rows
            if counts[row.answer] >= _LEAST_REPEATS and fold(row.answer) in spelling
        ]
        if labelled and len(labelled) >= _LABELLED_SHARE * len(rows):
            taught[name] = _labelled(labelled)
    skill = Skill(_DATA_TASK, _DATA_PROMPT, taught, ())
    if not 2 <= len(skill.labels) <= MOST_LABELS:
        return None
    known = set(skill.labels)
    own = _labelled([row for row in _spelled(_askable(test), spelling) if row.answer in known])
    return replace(skill, test=own) if own else None


def _askable(rows: Sequence[Example]) -> list[Example]:
    return [row for row in rows if not row.document and not row.turns]


def _spellings(rows: Sequence[Example]) -> dict[str, str]:
    """Return the most frequent spelling of each answer that can be a label, by its folded form.

    Answers are compared without regard to case and white space, so "Yes" and "yes " are one label.
    """
    counts = Counter(clean_label(row.answer) for row in rows)
    spelling: dict[str, str] = {}
    for answer, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if answer and len(answer) <= MOST_LABEL_CHARACTERS and not hidden_character(answer):
            spelling.setdefault(fold(answer), answer)
    return spelling


def _spelled(rows: Sequence[Example], spelling: Mapping[str, str]) -> list[Example]:
    """Return rows with their answers in the most frequent spelling."""
    return [replace(row, answer=spelling.get(fold(row.answer), row.answer)) for row in rows]


def _labelled(rows: Sequence[Example]) -> tuple[Labelled, ...]:
    return tuple(Labelled(row.question, row.answer, row.subject) for row in rows)
