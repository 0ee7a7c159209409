"""The noise of a router's sums holds for people with the agreed number of questions."""

from pathlib import Path

import pytest

from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics_noise import GaussianNoise, TooManyRowsOfAPerson
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.node.statistics_rows import check_questions
from rescind.training import Example
from rescind.training.reading.examples import Located
from rescind.training.reading.rows import Place

QUESTIONS = [
    Located(Example(f"Question {number}?", "Yes.", subject), Place(Path("data.jsonl"), number))
    for number, subject in enumerate(("Ada", "Bela", "Ada"), start=1)
]


def agreed(*, router: bool, person_rows: int) -> StatisticsParameters:
    features = NgramFeatures(buckets=31)
    task = Task(prompt="Which desk? {text}", labels=("a", "b"), features=features, row_square=16)
    return StatisticsParameters(
        tasks={"desk": task},
        router=RouterStatistics(features=features, row_square=16, max_members=4)
        if router
        else None,
        noise=GaussianNoise(epsilon=1.0, delta=1e-6, person_rows=person_rows),
    )


def test_a_person_with_more_questions_than_the_noise_is_for_is_refused() -> None:
    with pytest.raises(TooManyRowsOfAPerson, match="rows 1, 3 are about one person"):
        check_questions(QUESTIONS, agreed(router=True, person_rows=1))


def test_questions_that_no_router_is_made_of_are_not_counted() -> None:
    check_questions(QUESTIONS, agreed(router=True, person_rows=2))
    check_questions(QUESTIONS, agreed(router=False, person_rows=1))
