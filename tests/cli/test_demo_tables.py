"""The tables that a demo ends with."""

import io

from rich.console import Console

from rescind.cli.demo_tables import person_sentence, tables
from rescind.devnet.summary import KeptSummary, Summary
from tests.support.summaries import PERSON, SKILL, summary_of


def printed(summary: Summary) -> str:
    console = Console(file=io.StringIO(), width=120, record=True)
    for table, explanation in tables(summary):
        console.print(table)
        console.print(explanation)
    return console.export_text()


def test_a_run_without_statistics_shows_what_was_remembered() -> None:
    text = printed(summary_of())
    assert "Remembered: questions answered right" in text
    assert "aurora (withdrew)" in text
    assert "shared" not in text
    assert "alone" not in text.casefold()
    assert "Learned" not in text


def test_a_skill_is_shown_alone_beside_together() -> None:
    lines = printed(summary_of(skill=SKILL)).splitlines()
    heading = next(line for line in lines if "together" in line and "alone" in line)
    assert heading.index("alone") < heading.index("together")
    row = next(line for line in lines if "departments" in line and "200" in line)
    assert [word for word in row.split() if word.endswith("%")] == ["31%", "90%", "80%", "80%"]


def test_kept_questions_have_a_table_of_their_own() -> None:
    scores = {"aurora": 0.2, "borealis": 0.4}
    kept = KeptSummary(
        before=scores, after=scores, replay=scores, questions={**dict.fromkeys(scores, 9)}
    )
    text = printed(summary_of(kept=kept))
    learned = text.partition("Learned: kept questions answered right")[2]
    assert "40%" in learned
    assert "No organization trained on these questions." in learned


def test_a_person_is_told_of_with_rows_and_seconds() -> None:
    sentence = person_sentence(PERSON)
    assert "3 rows left the statistics of borealis in 2.50 s, without training" in sentence
    assert "1 row left" in person_sentence(PERSON.model_copy(update={"rows": 1}))


def test_goals_are_about_a_skill_and_a_person_where_there_are_any() -> None:
    plain = {goal.name for goal in summary_of().goals}
    added = [g for g in summary_of(skill=SKILL, person=PERSON).goals if g.name not in plain]
    assert [goal.met for goal in added] == [True, True, True, True]
    worse = SKILL.model_copy(update={"together": 0.5, "after": 0.7})
    slow = PERSON.model_copy(update={"exact": False, "seconds": 6.0})
    missed = [g for g in summary_of(skill=worse, person=slow).goals if g.name not in plain]
    assert [goal.met for goal in missed] == [False, False, False, False]
