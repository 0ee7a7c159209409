"""The node's statistics: sums over rows of its own that it contributes beside its block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rescind.core import commit, digest, encode
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import contributed_tensors
from rescind.node.facts import StatisticsFact
from rescind.node.session import Session

if TYPE_CHECKING:
    from rescind.training import Example


def contribute_statistics(session: Session, agreed: StatisticsParameters) -> StatisticsFact:
    """Sum over the node's rows, without withdrawn data subjects, and store the artifact.

    Fresh noise hides each artifact in its digest, so the same rows give another point.
    """
    rows = kept_rows(session)
    sums = {
        name: task.collect(
            [row.question for row in rows.get(name, ())], [row.answer for row in rows.get(name, ())]
        )
        for name, task in agreed.tasks.items()
    }
    tensors = contributed_tensors(agreed, sums)
    return StatisticsFact(
        artifact=session.store.put(encode(tensors)), point=commit(digest(tensors)).hex()
    )


def kept_rows(session: Session) -> dict[str, list[Example]]:
    """Return the rows of each task, without those of withdrawn data subjects."""
    return {
        task: session.without_withdrawn([each.example for each in rows])
        for task, rows in session.statistics_rows.items()
    }
