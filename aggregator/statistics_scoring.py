"""Score posted statistics by the questions that the heads of their sums answer right.

Statistics are state: what a member posts replaces its earlier ones. The value of a set of members is
the share of a public benchmark that the heads answer right when these members' new statistics are
in the sum and the others' earlier ones, less the share before the round. So what the sum held
already, to anybody, earns nothing again. Each set is one solve for each task, and no training.

A question that the heads of an earlier model answered right earns nothing either, though they no
longer do. Otherwise rows that were taken back would be paid again when they are posted again: by
the member that took them back, or by another, to whom the sums before and after have shown them. To
tell such rows from others, the withdrawn statistics would have to be kept; the questions are
public, and tell about models, not about rows. So those who make up for rows that were taken back
are not paid for that.

Sums are no secret, and another's rows posted once more change their weight, which helps by chance.
Therefore rows that could be another's earlier ones are not counted, see `without_known`.

Heads are solved in float64 here, not to canonical integers: a score needs only which label has the
largest value. It differs where two labels are as good as equal, and no one recomputes it to the
byte: scores are the aggregator's word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from rescind.aggregator.shapley import (
    Floats,
    Remembered,
    Value,
    sampled,
    shapley,
    surely,
    to_scores,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import DataError, RescindError
from rescind.core.features import checked_rows, feature_rows
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.training.ridges import RidgeRule, agreed_ridge

EXACT_SUMS_UP_TO = 10
"""Players up to which all coalitions are solved: 2^10 = 1,024 solves of each task."""

Posted = Mapping[str, Mapping[str, RowStatistics]]
"""Statistics by organization and task. Those of tasks without a question are not looked at."""


FeatureRows = Callable[[Classes, Sequence[str]], NDArray[np.int64]]
"""Returns the features of texts, int64 (texts, dimensions)."""


def _without_base(classes: Classes, texts: Sequence[str]) -> NDArray[np.int64]:
    return feature_rows(classes.features, texts)


@dataclass(frozen=True)
class Question:
    """A question of the benchmark.

    Attributes:
        task: Name of the task that it belongs to.
        text: What is asked.
        label: The right answer, one of the task's labels.
    """

    task: str
    text: str
    label: str

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the question with its answer."""
        document = canonical_json([self.task, self.text, self.label])
        return hashlib.sha256(document).hexdigest()[:16]


@dataclass(frozen=True)
class StatisticsWorth:
    """The worth of one organization's statistics.

    Attributes:
        worth: Share of the benchmark that they add to the right answers; negative where they cost.
        low: Lower end of its 95 % interval over the sampled orders; `worth` where it is exact.
        high: Upper end.
        sure: `worth` if it is large enough and certain enough over the questions to be paid, else 0.
    """

    worth: float
    low: float
    high: float
    sure: float


def without_known(
    statistics: RowStatistics, known: Sequence[RowStatistics], classes: Classes
) -> RowStatistics:
    """Return statistics less those of others that they could hold, each as often as it fits.

    They could hold others' if the difference is still the sum of rows. Of rows that were not copied
    this is rarely so: with a label or an n-gram that only the others' rows have, it is not. An
    organization with many more rows than features can seem to hold those of one with very few, and
    then loses that small share of its worth. Where the members agreed on noise, the difference is
    rarely the sum of rows either, so that nothing is taken out.

    Args:
        statistics: What an organization posted.
        known: What others posted before.
        classes: The task.
    """
    # The difference may have fewer rows than an organization must post.
    any_number = classes.model_copy(update={"min_rows": 1})
    for other in sorted(known, key=lambda each: each.rows, reverse=True):
        if not other.rows:
            continue
        most = statistics.rows // other.rows
        fits = 0
        # The multiples that fit are all those up to the largest.
        while fits < most:
            times = (fits + most + 1) // 2
            if _is_of_rows(_less(statistics, other, times), any_number):
                fits = times
            else:
                most = times - 1
        if fits:
            statistics = _less(statistics, other, fits)
    return statistics


def _less(statistics: RowStatistics, other: RowStatistics, times: int) -> RowStatistics:
    return RowStatistics(
        statistics.gram - times * other.gram, statistics.moments - times * other.moments
    )


def _is_of_rows(statistics: RowStatistics, classes: Classes) -> bool:
    try:
        check(statistics, classes)
    except RescindError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class _Sums:
    """Statistics as float64, whose sums are exact below 2^53."""

    gram: Floats
    moments: Floats

    @classmethod
    def of(cls, statistics: RowStatistics) -> _Sums:
        return cls(statistics.full_gram().astype(np.float64), statistics.moments.astype(np.float64))


class _Task:
    """One task's questions and the statistics of a round.

    Args:
        classes: The agreed task.
        questions: Its questions.
        rule: The agreed rule for the ridge.
        rows: Computes the features of the questions.

    Raises:
        DataError: A question has a label that was not agreed on.
    """

    def __init__(
        self, classes: Classes, questions: Sequence[Question], rule: RidgeRule, rows: FeatureRows
    ) -> None:
        places = {label: place for place, label in enumerate(classes.labels)}
        unknown = sorted({q.label for q in questions} - places.keys())
        if unknown:
            raise DataError(
                f"the benchmark has the label {unknown[0]!r}, which is not one of the "
                f"{len(classes.labels)} that the members agreed on. Correct the benchmark."
            )
        features = checked_rows(classes.features, rows(classes, [q.text for q in questions]))
        self._features = classes.cut(features).astype(np.float64)
        self._rule = rule
        self._labels = np.array([places[q.label] for q in questions], dtype=np.int64)

    @property
    def questions(self) -> int:
        """Number of questions."""
        return int(self._labels.size)

    def right(self, parts: Sequence[_Sums]) -> Floats:
        """Return 1 for each question that the head of the parts' sum answers right, else 0."""
        counted = [part for part in parts if part.gram[0, 0] > 0]
        if not counted:
            return np.zeros(self._labels.size)
        gram = np.sum([part.gram for part in counted], axis=0)
        moments = np.sum([part.moments for part in counted], axis=0)
        gram[np.diag_indices(len(gram))] += self._ridge(gram, moments)
        known = moments[0] > 0
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        weights = scipy.linalg.cho_solve(factor, moments[:, known], check_finite=False)
        answers = np.flatnonzero(known)[(self._features @ weights).argmax(axis=1)]
        return np.asarray(answers == self._labels, dtype=np.float64)

    def _ridge(self, gram: Floats, moments: Floats) -> int:
        # As `trace_ridge`, which takes the triangle apart and puts it together again: that is slow.
        if self._rule == "trace":
            return max(1, int(np.trace(gram)) // len(gram))
        triangle = gram[np.triu_indices(len(gram))].astype(np.int64)
        return agreed_ridge(RowStatistics(triangle, moments.astype(np.int64)), self._rule)


class StatisticsScorer:
    """Scores the statistics that members posted in a round.

    Args:
        tasks: The agreed tasks by name.
        questions: The benchmark.
        rule: The agreed rule for the ridge of heads.
        rows: Computes the features of texts; needed where they are hidden states.
        permutations: Orders that are sampled where there are more than EXACT_SUMS_UP_TO players.
        seed: Seed of the orders.

    Attributes:
        solved: Number of coalitions whose heads were solved in the last round.
        answered: Ids of the questions that were answered right by a model until the end of the last
            round.

    Raises:
        DataError: The benchmark has no question, or one of another task or with another label.
        NeedsBase: The features need the base model, and `rows` does not compute them.
    """

    def __init__(
        self,
        tasks: Mapping[str, Classes],
        questions: Sequence[Question],
        *,
        rule: RidgeRule = "trace",
        rows: FeatureRows = _without_base,
        permutations: int = 50,
        seed: int = 0,
    ) -> None:
        others = sorted({question.task for question in questions} - tasks.keys())
        if others or not questions:
            what = f"a question of the task {others[0]!r}" if others else "no question"
            raise DataError(
                f"the benchmark has {what}; the agreed tasks are {', '.join(sorted(tasks))}"
            )
        by_task = {name: [q for q in questions if q.task == name] for name in sorted(tasks)}
        self._tasks = {
            n: _Task(tasks[n], asked, rule, rows) for n, asked in by_task.items() if asked
        }
        self._ids = np.array([q.id for asked in by_task.values() for q in asked])
        self._classes, self._permutations, self._seed = tasks, permutations, seed
        self.solved = 0
        self.answered: frozenset[str] = frozenset()

    def score(
        self, posted: Posted, before: Posted, answered: Set[str] = frozenset()
    ) -> dict[str, int]:
        """Return the score of each organization that posted statistics.

        Args:
            posted: Accepted statistics by organization and task.
            before: Those in the model that the round started from.
            answered: Ids of the questions that an earlier model answered right; they earn nothing.

        Returns:
            0 to 10,000. The best has 10,000, unless none is surely worth anything.
        """
        worths = self.worths(posted, before, answered)
        return to_scores({name: each.sure for name, each in worths.items()})

    def worths(
        self, posted: Posted, before: Posted, answered: Set[str] = frozenset()
    ) -> dict[str, StatisticsWorth]:
        """Return what the statistics of each organization are worth, see `score`."""
        self.answered = frozenset(answered)
        names = sorted(posted, key=str.lower)
        if not names:
            return {}
        right = self._right(names, posted, before)
        n, known = len(names), Remembered(self._gains(right, answered), self._ids.size)
        if n <= EXACT_SUMS_UP_TO:
            worth = shapley(n, known)
            low = high = worth.mean(axis=1)
        else:
            worth, low, high = sampled(n, known, permutations=self._permutations, seed=self._seed)
        self.solved = known.asked
        self.answered |= self._ids_of(right(frozenset())) | self._ids_of(right(frozenset(range(n))))
        sure = surely(worth)
        mean = worth.mean(axis=1)
        return {
            name: StatisticsWorth(float(mean[i]), float(low[i]), float(high[i]), sure[i])
            for i, name in enumerate(names)
        }

    def _counted(
        self, name: str, posted: Mapping[str, RowStatistics], before: Posted
    ) -> dict[str, _Sums]:
        """Return an organization's statistics without rows that could be others'."""
        counted = {}
        for task in self._tasks.keys() & posted.keys():
            known = [each[task] for other, each in before.items() if other != name and task in each]
            counted[task] = _Sums.of(without_known(posted[task], known, self._classes[task]))
        return counted

    def value_of(
        self,
        names: Sequence[str],
        posted: Posted,
        before: Posted,
        answered: Set[str] = frozenset(),
    ) -> Value:
        """Return the value of a set of organizations, by their places in `names`; see `score`."""
        return self._gains(self._right(names, posted, before), answered)

    def _right(self, names: Sequence[str], posted: Posted, before: Posted) -> Value:
        """Return which questions are answered right when a set's new statistics are in the sum."""
        everyone = sorted({*before, *names})
        asked = self._tasks.keys()
        old = {
            n: {t: _Sums.of(before[n][t]) for t in asked & before[n].keys()} if n in before else {}
            for n in everyone
        }
        new = {n: self._counted(n, posted[n], before) for n in names}

        def right(coalition: frozenset[int]) -> Floats:
            now = old | {names[i]: new[names[i]] for i in coalition}
            return np.concatenate(
                [
                    task.right([now[name][t] for name in everyone if t in now[name]])
                    for t, task in self._tasks.items()
                ]
            )

        return right

    def _gains(self, right: Value, answered: Set[str]) -> Value:
        start = right(frozenset())
        earlier = np.array([each in answered for each in self._ids])

        def value(coalition: frozenset[int]) -> Floats:
            gain = right(coalition) - start
            # Only the gain is not paid: an answer that is lost again costs as any other.
            return np.where(earlier, np.minimum(gain, 0.0), gain)

        return value

    def _ids_of(self, right: Floats) -> frozenset[str]:
        return frozenset(self._ids[right > 0].tolist())
