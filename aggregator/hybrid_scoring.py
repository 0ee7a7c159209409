"""Score contributions of a block and statistics by the whole benchmark.

A question of the benchmark that has the form of an agreed task is answered by the task's head, every
other by the best block. An organization's worth is what its block adds to the second kind and its
statistics to the first, each weighted by its share of the questions.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.scoring import BenchmarkScorer, Deltas, RoundScorer
from rescind.aggregator.shapley import to_scores
from rescind.aggregator.statistics_scoring import Posted, Question, StatisticsScorer
from rescind.core import ConsortiumParameters, Totals
from rescind.core.statistics_parameters import StatisticsParameters

if TYPE_CHECKING:
    from rescind.training import Example


def divided(
    benchmark: Sequence[Example], agreed: StatisticsParameters
) -> tuple[list[Question], list[Example]]:
    """Return the benchmark's questions of agreed tasks, and its other rows."""
    asked: list[Question] = []
    others: list[Example] = []
    for example in benchmark:
        texts = {name: task.text_of(example.question) for name, task in agreed.tasks.items()}
        task = next((name for name, text in texts.items() if text is not None), None)
        if task is None:
            others.append(example)
        else:
            asked.append(Question(task, texts[task] or "", example.answer))
    return asked, others


def make_hybrid_scorer(
    config: AggregatorConfig,
    parameters: ConsortiumParameters,
    benchmark: Sequence[Example] | None,
) -> HybridScorer | None:
    """Return the scorer of blocks and statistics.

    Returns:
        None where the members agreed on no statistics, or there is no model or no benchmark.

    Raises:
        DataError: A question of a task has a label that was not agreed on.
    """
    agreed, section = parameters.statistics, config.evaluation
    if agreed is None or section is None or config.model is None or not benchmark:
        return None
    asked, others = divided(benchmark, agreed)
    blocks = BenchmarkScorer(section, config.model, parameters, others)
    blocks.scratch = config.aggregator.state_dir
    statistics = None
    if asked:
        statistics = StatisticsScorer(
            agreed.tasks,
            asked,
            rule=agreed.ridge,
            rows=blocks.feature_rows,
            permutations=section.permutations,
            seed=parameters.seed,
        )
    return HybridScorer(blocks if others else None, statistics, len(asked) / len(benchmark))


class HybridScorer:
    """Scores blocks and statistics together.

    Args:
        blocks: Scores blocks; None where no row of the benchmark is left for them.
        statistics: Scores statistics; None where no row of it is of a task.
        share: Share of the benchmark's rows that are of a task, 0 to 1.
    """

    def __init__(
        self, blocks: RoundScorer | None, statistics: StatisticsScorer | None, share: float
    ) -> None:
        self.blocks, self._statistics, self._share = blocks, statistics, share

    @property
    def answered(self) -> frozenset[str]:
        """Ids of the tasks' questions that a model answered right until the end of the last round."""
        return self._statistics.answered if self._statistics is not None else frozenset()

    def score(
        self,
        deltas: Deltas,
        parent: Totals,
        posted: Posted,
        before: Posted,
        answered: Set[str] = frozenset(),
    ) -> dict[str, int]:
        """Return the score of each organization whose contribution was accepted, 0 to 10,000.

        Args:
            deltas: Accepted deltas by organization.
            parent: The adapter that the round started from.
            posted: Accepted statistics by organization and task.
            before: Statistics in the model that the round started from.
            answered: Ids of the tasks' questions that an earlier model answered right.
        """
        worths = dict.fromkeys(deltas, 0.0)
        if self.blocks is not None:
            for name, worth in self.blocks.worths(deltas, parent).items():
                worths[name] += (1.0 - self._share) * worth
        if self._statistics is not None:
            for name, each in self._statistics.worths(posted, before, answered).items():
                worths[name] += self._share * each.sure
        return to_scores(worths)
