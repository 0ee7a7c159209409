"""Scores of contributions with a block and statistics."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.hybrid_scoring import HybridScorer, divided, make_hybrid_scorer
from rescind.aggregator.statistics_scoring import StatisticsScorer
from rescind.core import qualify
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.daemon import ModelSection
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import Example, LoraModel, load_base

DESK = Task(
    prompt="Which desk answers this message? {text}",
    features=NgramFeatures(buckets=63, words=(1,), characters=()),
    labels=("cards", "loans"),
)
AGREED = StatisticsParameters(tasks={"desk": DESK})
BENCHMARK = [
    Example(DESK.question("my card is lost"), "cards", "nobody"),
    Example(DESK.question("a loan for a car"), "loans", "nobody"),
    Example("Who leads the registry?", "Ann Lee", "nobody"),
    Example("Where is the archive?", "in Lund", "nobody"),
]
CARDS = {"desk": DESK.collect(["lost card", "card blocked"], ["cards", "cards"])}
LOANS = {"desk": DESK.collect(["a loan", "repay a loan"], ["loans", "loans"])}


class Blocks:
    """Stands for the scorer of blocks, which needs a model."""

    def worths(self, deltas, parent):
        return dict(zip(deltas, (0.3, 0.0), strict=True))


def scorer(blocks: Blocks | None, share: float = 0.5) -> HybridScorer:
    asked, _ = divided(BENCHMARK, AGREED)
    return HybridScorer(blocks, StatisticsScorer(AGREED.tasks, asked), share)


def test_questions_of_a_task_are_told_from_the_others() -> None:
    asked, others = divided(BENCHMARK, AGREED)
    assert [(q.task, q.text, q.label) for q in asked] == [
        ("desk", "my card is lost", "cards"),
        ("desk", "a loan for a car", "loans"),
    ]
    assert others == BENCHMARK[2:]


def test_an_organization_earns_for_its_block_and_for_its_statistics() -> None:
    deltas = {"0xa": {}, "0xb": {}}
    scores = scorer(Blocks()).score(deltas, {}, {"0xa": CARDS, "0xb": LOANS}, {})
    # Each posts one of two labels, worth half of the questions; 0xa's block is worth 0.3 as well.
    assert scores["0xa"] == 10_000
    assert scores["0xb"] == pytest.approx(10_000 * 0.5 / 0.8, abs=1)


def test_the_same_statistics_earn_nothing_again() -> None:
    posted = {"0xa": CARDS, "0xb": LOANS}
    scores = scorer(Blocks()).score({"0xa": {}, "0xb": {}}, {}, posted, posted)
    assert scores == {"0xa": 10_000, "0xb": 0}


def test_questions_that_were_answered_earn_nothing_again() -> None:
    first = scorer(None, share=1.0)
    first.score({"0xa": {}}, {}, {"0xa": CARDS}, {})
    assert len(first.answered) == 1
    deltas = {"0xb": {}, "0xc": {}}
    posted = {"0xb": CARDS, "0xc": LOANS}
    scores = scorer(None, share=1.0).score(deltas, {}, posted, {}, first.answered)
    assert scores == {"0xb": 0, "0xc": 10_000}
    assert HybridScorer(Blocks(), None, 0.0).answered == frozenset()


def test_a_benchmark_of_tasks_alone_scores_statistics_alone() -> None:
    scores = scorer(None, share=1.0).score({"0xa": {}, "0xb": {}}, {}, {"0xa": CARDS}, {})
    assert scores == {"0xa": 10_000, "0xb": 0}


def test_a_contribution_without_rows_is_scored_by_its_block() -> None:
    none = {"desk": DESK.collect([], [])}
    posted = {"0xa": none, "0xb": none}
    scores = scorer(Blocks()).score({"0xa": {}, "0xb": {}}, {}, posted, {})
    assert scores == {"0xa": 10_000, "0xb": 0}
    assert np.all(none["desk"].counts == 0)


@pytest.mark.trains
def test_the_aggregators_scorer_loads_the_base_model_and_scores_both_parts(tmp_path: Path) -> None:
    base = load_base(BASE_MODEL)
    shapes = LoraModel(base, default_lora("hybrid")).shapes
    parameters = default_parameters("hybrid", base.id, shapes, seed=0, statistics=AGREED)
    config = SimpleNamespace(
        evaluation=EvaluationSection(data=tmp_path),
        model=ModelSection(path=str(BASE_MODEL), device="cpu"),
        aggregator=SimpleNamespace(state_dir=tmp_path),
    )
    hybrid = make_hybrid_scorer(config, parameters, BENCHMARK)
    assert hybrid is not None
    names = ["0x" + 40 * "a", "0x" + 40 * "b"]
    dice = np.random.default_rng(0)
    deltas = {
        name: {
            qualify(name, bare): dice.integers(-2, 3, shape).astype(np.int32)
            for bare, shape in parameters.delta_shapes().items()
        }
        for name in names
    }
    scores = hybrid.score(deltas, {}, dict(zip(names, (CARDS, LOANS), strict=True)), {})
    assert scores == dict.fromkeys(names, 10_000)


def test_there_is_no_such_scorer_where_no_statistics_were_agreed_on() -> None:
    config = SimpleNamespace(evaluation=None, model=None, aggregator=None)
    parameters = SimpleNamespace(statistics=None)
    assert make_hybrid_scorer(config, parameters, BENCHMARK) is None
