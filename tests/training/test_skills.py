"""Questions of agreed tasks are answered by the heads of summed statistics."""

from __future__ import annotations

import numpy as np
import pytest

from rescind.core.features import HiddenFeatures, NeedsBase
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import Task
from rescind.training.ridges import RidgeRule
from rescind.training.skills import Skill, Skills

NGRAMS = NgramFeatures(buckets=63)
DEPARTMENTS = Task(
    features=NGRAMS,
    labels=("cards", "legal", "loans"),
    max_rows=50,
    prompt="Which department answers this message? {text}",
)
MOODS = Task(
    features=NGRAMS, labels=("glad", "sorry"), max_rows=50, prompt="Is {text} glad or sorry?"
)
ROWS = {
    "cards": ["Where is my card?", "My card is lost", "The card does not work"],
    "loans": ["I want a loan", "What does a loan cost?"],
}


def collected(task: Task, rows: dict[str, list[str]]) -> RowStatistics:
    pairs = [(text, label) for label, texts in rows.items() for text in texts]
    return task.collect([text for text, _ in pairs], [label for _, label in pairs])


def skills_of(rows: dict[str, list[str]], rule: RidgeRule = "trace") -> Skills:
    return Skills(
        {
            "departments": Skill.of("departments", DEPARTMENTS, collected(DEPARTMENTS, rows), rule),
            "moods": Skill.of("moods", MOODS, collected(MOODS, {}), rule),
        }
    )


@pytest.mark.parametrize("rule", ["trace", "gcv"])
def test_a_question_of_a_task_is_answered_by_a_label_with_the_reason(rule: RidgeRule) -> None:
    answer = skills_of(ROWS, rule).answer("Which department answers this message? Is my card lost?")
    assert answer is not None
    assert (answer.task, answer.text, answer.label) == ("departments", "Is my card lost?", "cards")
    assert answer.rows == 5
    assert answer.margin == pytest.approx(answer.scores["cards"] - answer.scores["loans"])
    assert answer.reason.startswith(
        "The head of the task 'departments', solved from 5 rows, gives 'cards' a score of 0."
    )
    assert "more than 'loans'" in answer.reason


def test_a_question_of_no_task_is_left_to_others() -> None:
    skills = skills_of(ROWS)
    assert skills.answer("Where is my card?") is None
    assert skills.answer("Which department answers this message?") is None
    found = skills.find("Is my aunt glad or sorry?")
    assert found is not None
    assert found[1] == "my aunt"


def test_a_label_without_rows_is_never_an_answer() -> None:
    skills = skills_of(ROWS)
    assert skills.skills["departments"].labels == ("cards", "loans")
    answer = skills.answer("Which department answers this message? A lawsuit about something")
    assert answer is not None
    assert set(answer.scores) == {"cards", "loans"}


def test_a_label_that_only_a_leaver_had_disappears_with_it() -> None:
    leaver = collected(DEPARTMENTS, {"legal": ["We sue you", "This is a lawsuit"]})
    whole = RowStatistics.sum([collected(DEPARTMENTS, ROWS), leaver])
    question = ["This is a lawsuit"]
    before = Skill.of("departments", DEPARTMENTS, whole, "trace").answers(question)[0]
    after = Skill.of("departments", DEPARTMENTS, whole.without(leaver), "trace")
    assert before.label == "legal"
    assert after.answers(question)[0].label != "legal"
    assert after.head is not None
    assert skills_of(ROWS).head_ids == {"departments": after.head.id}


def test_one_label_alone_has_no_margin_and_none_has_no_answer() -> None:
    single = skills_of({"loans": ["I want a loan"]})
    answer = single.answer("Which department answers this message? My card")
    assert answer is not None
    assert (answer.label, answer.margin) == ("loans", None)
    assert answer.reason.endswith("gives 'loans', the only label with rows.")
    nothing = single.answer("Is my aunt glad or sorry?")
    assert nothing is not None
    assert (nothing.label, nothing.rows, nothing.scores) == (None, 0, {})
    assert nothing.reason == "No organization has contributed rows of the task 'moods'."


def test_equal_scores_give_the_first_label() -> None:
    same = {"cards": ["the same text"], "loans": ["the same text"]}
    answer = skills_of(same).answer("Which department answers this message? the same text")
    assert answer is not None
    assert (answer.label, answer.margin) == ("cards", 0.0)


def test_hidden_features_of_a_question_need_the_base() -> None:
    features = HiddenFeatures(base_model_id="a" * 64, width=3, layers=(1,))
    task = DEPARTMENTS.model_copy(update={"features": features})
    means = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    statistics = task.collect(["x", "y"], ["cards", "loans"], features.rounded(means))
    skill = Skill.of("departments", task, statistics, "trace")
    question = "Which department answers this message? z"
    with pytest.raises(NeedsBase):
        Skills({"departments": skill}).answer(question)
    near = means[1:] * 0.9
    answer = Skills({"departments": skill}, lambda map_, texts: map_.rounded(near)).answer(question)
    assert answer is not None
    assert answer.label == "loans"
