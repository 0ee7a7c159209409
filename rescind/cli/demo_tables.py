"""The tables that a demo ends with: what was remembered, and what was learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rescind.devnet.summary import (
        EvaluationSummary,
        KeptSummary,
        PersonSummary,
        SkillSummary,
        Summary,
    )

_REMEMBERED = (
    "Each organization's row has questions that only its data answers. Shared: two or more know the "
    "answer. Held-out: in no organization's data. An answer counts only if it is right in full."
)
_LEARNED = (
    "No organization trained on these questions. Where answers are facts that no other row tells, no "
    "model can know them."
)


def tables(summary: Summary) -> Iterator[tuple[Table, str]]:
    """Yield the tables of a run, each with what is to be said below it."""
    from rescind.devnet.summary import without_of

    withdrawn, evaluation = summary.withdrawal.organization, summary.evaluation
    left_out = without_of(summary.coupling, withdrawn)
    if evaluation.skill is not None:
        yield _skill(evaluation.skill, withdrawn), _said_of(evaluation.skill)
    title = "Remembered: questions answered right"
    yield _answered(title, evaluation, evaluation.questions, withdrawn, left_out), _REMEMBERED
    if evaluation.kept is not None:
        title = "Learned: kept questions answered right"
        yield (
            _answered(title, evaluation.kept, evaluation.kept.questions, withdrawn, left_out),
            _LEARNED,
        )


def person_sentence(person: PersonSummary) -> str:
    """Say what the withdrawal of one person took."""
    rows = f"{person.rows} row" + ("" if person.rows == 1 else "s")
    same = "the same bytes" if person.exact else "other bytes"
    return (
        f"One person's {rows} left the statistics of {person.organization} in {person.seconds:.2f} "
        f"s, without training, and the sums are [bold]{same}[/bold] as without the person."
    )


def _skill(skill: SkillSummary, withdrawn: str) -> Table:
    table = _titled(
        f"Learned together: {skill.task} found",
        "skill",
        "questions",
        "alone",
        "together",
        f"after {withdrawn} is removed",
        f"run without {withdrawn}",
    )
    scores = (skill.alone, skill.together, skill.after, skill.replay)
    table.add_row(skill.task, str(skill.questions), *(f"{score:.0%}" for score in scores))
    return table


def _said_of(skill: SkillSummary) -> str:
    return (
        f"One of {skill.labels} labels for each text, and no organization has the texts. Alone: the "
        "mean over the organizations, each with the statistics of its own rows. Together: the sums "
        "of all."
    )


def _answered(
    title: str,
    scores: EvaluationSummary | KeptSummary,
    questions: Mapping[str, int],
    withdrawn: str,
    left_out: str,
) -> Table:
    table = _titled(
        title,
        "asked about",
        "questions",
        "before",
        f"after {withdrawn} is removed",
        f"run without {left_out}",
    )
    for name, before in scores.before.items():
        if before is None:
            continue
        cells = (before, scores.after[name] or 0, scores.replay[name] or 0)
        table.add_row(
            f"{name} (withdrew)" if name == withdrawn else name.replace("_", "-"),
            str(questions[name]),
            *(f"{score:.0%}" for score in cells),
            style="yellow" if name == withdrawn else None,
        )
    return table


def _titled(title: str, *headings: str) -> Table:
    return Table(*headings, title=f"\n{title}", title_justify="left", title_style="bold")
