"""One person who leaves the statistics of an organization."""

from dataclasses import replace

import numpy as np

from rescind.core import STATISTICS
from rescind.core.statistics import RowStatistics
from rescind.devnet.data import generated
from rescind.devnet.person import Person, is_without, person_of
from rescind.devnet.skill import Skill
from rescind.training import Example


def adapter(
    skill: Skill, *, without: Person | None = None, block: int = 1
) -> dict[str, np.ndarray]:
    """Return an adapter with the sums of a skill's rows, without a person's."""
    task = skill.agreed().tasks[skill.task]
    parts = []
    for name, own in skill.organizations.items():
        rows = [r for r in own if without is None or (name, r.subject) != (
            without.organization, without.subject,
        )]  # fmt: skip
        parts.append(task.collect([row.text for row in rows], [row.label for row in rows]))
    sums = RowStatistics.sum(parts).tensors()
    tensors = {f"{STATISTICS}/{skill.task}.{name}": value for name, value in sums.items()}
    noise = np.random.default_rng(block).integers(0, 9, 4)
    return {**tensors, "0xa/w": np.full(3, block), "0xa/digest.hiding": noise}


def test_the_person_is_in_no_example_that_is_trained_on() -> None:
    corpus = generated(3, 0)
    assert corpus.skill is not None
    person = person_of(corpus, "aurora")
    assert person is not None
    rows = [r for r in corpus.skill.organizations["aurora"] if r.subject == person.subject]
    assert len(rows) == person.rows >= 2
    everyone = [
        Example(row.text, row.label, row.subject) for row in corpus.skill.organizations["aurora"]
    ]
    both = replace(corpus, organizations={**corpus.organizations, "aurora": tuple(everyone)})
    assert person_of(both, "aurora") is None
    assert person_of(replace(corpus, skill=None), "aurora") is None


def test_a_model_is_without_a_person_if_the_sums_are_those_of_all_other_rows() -> None:
    skill = generated(3, 0).skill
    assert skill is not None
    agreed, person = skill.agreed(), Person("aurora", skill.organizations["aurora"][0].subject, 1)
    before, after = adapter(skill), adapter(skill, without=person)
    assert is_without(person, skill, agreed, before, after)
    assert not is_without(person, skill, agreed, before, before)
    assert not is_without(person, skill, agreed, before, adapter(skill, without=person, block=2))
    noise = {"0xa/digest.hiding": np.ones(4, dtype=np.int64)}
    assert is_without(person, skill, agreed, before, {**after, **noise})
