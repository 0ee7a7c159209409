"""Questions of a task are paid once: what the aggregator remembers from round to round. No chain."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from rescind.aggregator.aggregation import Aggregation
from rescind.aggregator.facts import AnsweredQuestions, open_journal
from rescind.aggregator.hybrid_scoring import HybridScorer
from rescind.aggregator.statistics_scoring import Question, StatisticsScorer
from rescind.contracts import RoundState
from rescind.core import STATISTICS, qualify
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters, tensor_name
from tests.support.desk import DESK, ROWS, sums_of

AGREED = StatisticsParameters(tasks={"desk": DESK})
QUESTIONS = [Question("desk", row.question, row.answer) for rows in ROWS.values() for row in rows]
CARDS, LOANS = (sums_of(rows) for rows in ROWS.values())
BOTH = RowStatistics.sum([CARDS, LOANS])


class Record:
    """Stands for a consortium's chain and store: statistics by artifact, and who posted which."""

    def __init__(self) -> None:
        self.artifacts: dict[str, RowStatistics] = {}
        self.model: dict[str, str] = {}
        self.posted: dict[str, str] = {}
        self.states: dict[int, RoundState] = {}

    def post(self, round_id: int, statistics: Mapping[str, RowStatistics]) -> None:
        """Let organizations post statistics in a round, which is not judged yet."""
        self.posted = {name: f"{round_id}/{name}" for name in statistics}
        self.artifacts |= {self.posted[name]: each for name, each in statistics.items()}
        self.states[round_id] = RoundState.REVEALED

    def finish(self, round_id: int, *, abandoned: bool = False) -> None:
        """Make the round final, and what was posted a part of the model."""
        self.states[round_id] = RoundState.ABANDONED if abandoned else RoundState.FINAL
        if not abandoned:
            self.model |= self.posted

    def load(self, artifact_id: str) -> dict[str, object]:
        return {
            qualify(STATISTICS, tensor_name("desk", bare)): tensor
            for bare, tensor in self.artifacts[artifact_id].tensors().items()
        }

    def contributions(self, round_id: int) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(organization=name, parts=SimpleNamespace(artifact_ids=("", each)))
            for name, each in self.posted.items()
        ]

    def round(self, round_id: int) -> SimpleNamespace:
        return SimpleNamespace(state=self.states[round_id])

    def latest_model_id(self) -> int:
        return 1

    def content(self, model_id: int) -> None:
        return None


@pytest.fixture
def record() -> Record:
    return Record()


def scores(record: Record, folder: Path, round_id: int) -> dict[str, int]:
    """Return the scores of a round, by an aggregator that has just been started."""
    session = SimpleNamespace(
        folder=folder,
        journal=open_journal(folder),
        config=None,
        parameters=SimpleNamespace(statistics=AGREED),
        benchmark=None,
        store=record,
        consortium=record,
    )
    models = SimpleNamespace(
        terms=lambda content: [
            SimpleNamespace(organization=name, artifact_id=each, part=1)
            for name, each in record.model.items()
        ],
        opens=lambda term: True,
    )
    aggregation = Aggregation(session, models)
    statistics = StatisticsScorer(AGREED.tasks, QUESTIONS)
    aggregation._scorer = HybridScorer(None, statistics, 1.0)
    aggregation._parent = dict  # type: ignore[method-assign]
    return aggregation._scores({name: {} for name in record.posted}, round_id)


def after_a_leaver(record: Record, folder: Path) -> None:
    """Play a round of two organizations, of which the second leaves."""
    record.post(1, {"0xa": CARDS, "0xb": LOANS})
    assert scores(record, folder, 1) == {"0xa": 10_000, "0xb": 6_667}
    record.finish(1)
    del record.model["0xb"]


def test_rows_of_a_member_that_left_are_not_paid_to_another(record: Record, tmp_path: Path) -> None:
    after_a_leaver(record, tmp_path)
    record.post(2, {"0xa": BOTH})
    assert scores(record, tmp_path, 2) == {"0xa": 0}


def test_a_round_that_is_judged_again_has_the_same_scores(record: Record, tmp_path: Path) -> None:
    record.post(1, {"0xa": CARDS, "0xb": LOANS})
    first = scores(record, tmp_path, 1)
    assert scores(record, tmp_path, 1) == first


def test_a_round_that_was_abandoned_was_not_paid(record: Record, tmp_path: Path) -> None:
    record.post(1, {"0xa": CARDS})
    scores(record, tmp_path, 1)
    record.finish(1, abandoned=True)
    record.post(2, {"0xa": CARDS})
    assert scores(record, tmp_path, 2) == {"0xa": 10_000}


def test_one_round_is_kept_beside_the_one_that_is_judged(record: Record, tmp_path: Path) -> None:
    for round_id in (1, 2, 3):
        record.post(round_id, {"0xa": CARDS})
        scores(record, tmp_path, round_id)
        record.finish(round_id)
    kept = AnsweredQuestions.all(open_journal(tmp_path))
    assert [fact.round_id for fact in kept] == [2, 3]
