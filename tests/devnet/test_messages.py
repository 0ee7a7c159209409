"""Generated messages: who gets which, and that all together teach what no organization knows."""

import numpy as np

from rescind.core import STATISTICS
from rescind.core.statistics import RowStatistics
from rescind.devnet.data import organization_names
from rescind.devnet.messages import DEPARTMENTS, make_mail
from rescind.devnet.skill import skill_of_mail
from rescind.devnet.skill_scores import score_of, skill_scores
from rescind.training import skills


def test_the_same_seed_deals_the_same_messages() -> None:
    names = organization_names(4)
    assert make_mail(names, seed=3) == make_mail(names, seed=3)
    assert make_mail(names, seed=3) != make_mail(names, seed=4)


def test_no_message_and_no_customer_is_in_two_places() -> None:
    for count in (2, 4, 17):
        mail = make_mail(organization_names(count), seed=1)
        held = [*mail.organizations.values(), mail.test]
        assert all(held)
        texts = [message.text for rows in held for message in rows]
        assert len(texts) == len(set(texts))
        customers = [{message.customer for message in rows} for rows in held]
        assert sum(map(len, customers)) == len(set().union(*customers))


def test_every_department_is_asked_about_and_none_is_dealt_evenly() -> None:
    mail = make_mail(organization_names(4), seed=0)
    assert {message.department for message in mail.test} == set(DEPARTMENTS)
    for department in DEPARTMENTS:
        counts = [
            sum(message.department == department for message in rows)
            for rows in mail.organizations.values()
        ]
        assert min(counts) <= 2
        assert max(counts) >= sum(counts) / 3


def qualified(part: RowStatistics, task: str) -> dict[str, np.ndarray]:
    """Return statistics as an adapter holds them."""
    return {f"{STATISTICS}/{task}.{name}": value for name, value in part.tensors().items()}


def test_together_they_find_the_department_that_none_finds_alone() -> None:
    for seed in range(3):
        skill = skill_of_mail(make_mail(organization_names(4), seed=seed))
        agreed = skill.agreed()
        task = agreed.tasks[skill.task]
        own = {
            name: task.collect([row.text for row in rows], [row.label for row in rows])
            for name, rows in skill.organizations.items()
        }
        rest = RowStatistics.sum(part for name, part in own.items() if name != "aurora")
        together, after = RowStatistics.sum(own.values()), qualified(rest, skill.task)
        parts = [qualified(part, skill.task) for part in own.values()]
        scores = skill_scores(
            skill, agreed, parts, qualified(together, skill.task), after, dict(after)
        )
        assert 0.8 <= scores.together <= 0.97
        assert scores.alone < 0.5
        assert scores.alone < scores.after == scores.replay < scores.together


def test_a_label_without_rows_is_never_given() -> None:
    skill = skill_of_mail(make_mail(organization_names(2), seed=0))
    task = skill.agreed().tasks[skill.task]
    rows = [row for row in skill.test if row.label == "billing"]
    part = task.collect([row.text for row in rows], [row.label for row in rows])
    served = skills.Skill.of(skill.task, task, part, "trace")
    assert score_of([row for row in skill.test if row.label != "billing"], served) == 0
    assert score_of(rows, served) == 1
    assert np.flatnonzero(part.counts).tolist() == [task.labels.index("billing")]
