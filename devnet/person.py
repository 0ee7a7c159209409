"""One person whose rows are in an organization's statistics, and in nothing that is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core import STATISTICS, block, blocks_of, encode, is_hiding
from rescind.core.statistics import Classes, RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import named_statistics
from rescind.devnet.data import Corpus
from rescind.devnet.skill import Skill

Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    """A data subject.

    Attributes:
        organization: Name of the organization that has its rows.
        subject: The subject's name.
        rows: The number of its rows.
    """

    organization: str
    subject: str
    rows: int


def person_of(corpus: Corpus, organization: str) -> Person | None:
    """Return the person with most rows in an organization's statistics and none in its examples."""
    own = corpus.skill.organizations.get(organization, ()) if corpus.skill else ()
    trained = {example.subject for example in corpus.organizations[organization]}
    counts = Counter(row.subject for row in own if row.subject not in trained)
    if not counts:
        return None
    subject, rows = counts.most_common(1)[0]
    return Person(organization, subject, rows)


def is_without(
    person: Person, skill: Skill, agreed: StatisticsParameters, before: Tensors, after: Tensors
) -> bool:
    """Return whether a model is that of a run without a person's rows.

    The statistics must be the sums over all other rows, and the blocks those of the model before.

    Args:
        person: The person.
        skill: The rows of all organizations.
        agreed: What the statistics are sums of.
        before: The adapter before the person's withdrawal.
        after: The adapter after it.
    """
    statistics = named_statistics(agreed, block(after, STATISTICS))[skill.task]
    wanted = _sums_without(person, skill, agreed.tasks[skill.task])
    if encode(statistics.tensors()) != encode(wanted.tensors()):
        return False
    return _blocks(before) == _blocks(after)


def _sums_without(person: Person, skill: Skill, task: Classes) -> RowStatistics:
    parts = []
    for name, own in skill.organizations.items():
        rows = [r for r in own if (name, r.subject) != (person.organization, person.subject)]
        parts.append(task.collect([row.text for row in rows], [row.label for row in rows]))
    return RowStatistics.sum(parts)


def _blocks(adapter: Tensors) -> bytes:
    """Return the bytes of all blocks, without the noise that hides their digests."""
    tensors = {
        f"{name}/{bare}": value
        for name in blocks_of(adapter)
        for bare, value in block(adapter, name).items()
        if not is_hiding(bare)
    }
    return encode(tensors) if tensors else b""
