"""The page about a run, with what was learned where there is something."""

from pathlib import Path

import pytest

from rescind.devnet.layout import RunFolder
from rescind.devnet.report import write_report
from rescind.devnet.summary import KeptSummary
from tests.support.summaries import PERSON, SKILL, summary_of


@pytest.mark.parametrize("learned", [False, True])
def test_the_page_shows_what_was_learned_where_there_is_something(
    tmp_path: Path, *, learned: bool
) -> None:
    scores: dict[str, float | None] = {"aurora": 0.25}
    kept = KeptSummary(before=scores, after=scores, replay=scores, questions={"aurora": 4})
    summary = summary_of(skill=SKILL, kept=kept, person=PERSON) if learned else summary_of()
    stages = ("before", "after", "replay")
    perplexity = {stage: dict.fromkeys(summary.evaluation.before, 2.0) for stage in stages}
    evaluation = summary.evaluation.model_copy(update={"perplexity": perplexity})
    machine = dict.fromkeys(("system", "cores", "python", "torch"), "any")
    write_report(
        RunFolder(tmp_path),
        summary.model_copy(update={"evaluation": evaluation, "machine": machine}),
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == (3 if learned else 2)
    for words in ("What they learn together", "What the model learned", "3 rows left"):
        assert (words in page) == learned
