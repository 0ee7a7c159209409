"""A node posts the rows that its agent decided on, and its manifest lists exactly these."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.agents import ACTIONS, Observation
from rescind.core import STATISTICS, ArtifactStore, block
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics_noise import GaussianNoise
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.core.statistics_tensors import named_statistics
from rescind.daemon import Journal
from rescind.ledger import Manifest
from rescind.node.facts import Decision, DeltaFact, RoundFacts, Update
from rescind.node.statistics import PostedStatistics, contribute_statistics
from rescind.node.training import manifest_of
from rescind.training import Example

FEATURES = NgramFeatures(buckets=31)
CARDS = [
    Example("My card is lost", "cards", "Ann Lee"),
    Example("What does a loan cost?", "loans", "Bo Kim"),
]
MOODS = [Example("I am so angry", "bad", "Cy Roe")]
QUESTIONS = [Example("Where was Ada born?", "In Bergen.", "Di Fox")]
SEEN = Observation(1, 2, 0, 0.0, 0.0, 0.0)


def task(prompt: str, *labels: str, min_rows: int = 1) -> Task:
    return Task(
        prompt=prompt + " {text}",
        labels=labels,
        features=FEATURES,
        row_square=16,
        min_rows=min_rows,
    )


def agreed(
    *, moods: int = 1, questions: int = 1, noise: GaussianNoise | None = None
) -> StatisticsParameters:
    """Return two tasks and a router, with the agreed minimum of rows of one task and the router."""
    return StatisticsParameters(
        tasks={
            "desk": task("Which desk?", "cards", "loans"),
            "mood": task("Which mood?", "bad", "good", min_rows=moods),
        },
        router=RouterStatistics(
            features=FEATURES, row_square=16, max_members=4, min_rows=questions
        ),
        noise=noise,
    )


class Node:
    """The state that statistics are made from, in a folder, without a chain."""

    def __init__(self, folder: Path, parameters: StatisticsParameters) -> None:
        self.agreed = parameters
        self.rows = {"desk": CARDS, "mood": MOODS}
        member = SimpleNamespace(number=0)
        self.session: Any = SimpleNamespace(
            journal=Journal(folder / "journal.db"),
            store=ArtifactStore(folder / "store"),
            ledger=SimpleNamespace(append=lambda *_, **__: None),
            account=SimpleNamespace(key=b"k" * 32),
            me="0x" + "11" * 20,
            parameters=SimpleNamespace(seed=0),
            consortium=SimpleNamespace(member=lambda _: member),
            examples=QUESTIONS,
            without_withdrawn=lambda rows: rows,
        )

    def post(self, round_id: int, share: float = 1.0) -> PostedStatistics:
        """Contribute statistics to a round."""
        self.session.statistics_rows = {
            name: [SimpleNamespace(example=row) for row in own] for name, own in self.rows.items()
        }
        decision = Decision(replace(ACTIONS[-1], statistics=share), "as a test says", False, SEEN)
        RoundFacts(round_id, decision).save(self.session.journal)
        return contribute_statistics(self.session, self.agreed, round_id, None)

    def commit(self, round_id: int, posted: PostedStatistics) -> None:
        """Note that the node has committed to what it posted in a round."""
        delta = DeltaFact("", "", "", statistics=posted.fact)
        facts = RoundFacts.load(self.session.journal, round_id)
        replace(facts, update=Update(delta, "00", round_id)).save(self.session.journal)

    def rows_in(self, posted: PostedStatistics) -> dict[str, int]:
        """Return how many rows the posted sums have, by name."""
        tensors = block(self.session.store.load(posted.fact.artifact), STATISTICS)
        return {name: sums.rows for name, sums in named_statistics(self.agreed, tensors).items()}


def listed(posted: PostedStatistics, rows: Sequence[Example]) -> list[str]:
    """Return the people among the rows whom the contribution's manifest lists."""
    manifest = manifest_of(posted.rows, b"s" * 32)
    return [row.subject for row in rows if manifest.prove(row.subject).path.inside]


EVERYONE = [*CARDS, *MOODS, *QUESTIONS]


def test_a_manifest_lists_the_rows_of_every_sum(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    posted = node.post(1)
    assert node.rows_in(posted) == {"desk": 2, "mood": 1, "router": 1}
    assert listed(posted, EVERYONE) == ["Ann Lee", "Bo Kim", "Cy Roe", "Di Fox"]
    assert posted.fact.share == 1.0


def test_rows_below_the_agreed_minimum_are_neither_posted_nor_listed(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed(moods=2, questions=2))
    posted = node.post(1)
    assert node.rows_in(posted) == {"desk": 2, "mood": 0, "router": 0}
    assert listed(posted, EVERYONE) == ["Ann Lee", "Bo Kim"]


def test_no_row_is_posted_or_listed_once_the_noise_is_spent(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed(noise=GaussianNoise(epsilon=64, delta=1e-6, postings=1)))
    first = node.post(1)
    assert listed(first, EVERYONE) == ["Ann Lee", "Bo Kim", "Cy Roe", "Di Fox"]
    again = node.post(2)
    assert listed(again, EVERYONE) == listed(first, EVERYONE), "the same rows spend nothing more"
    node.rows["mood"] = [*MOODS, Example("What a day", "good", "Ed Poe")]
    spent = node.post(3)
    assert spent.rows == ()
    assert set(node.rows_in(spent).values()) == {0}
    assert spent.fact.share == 0.0


def test_nothing_is_listed_where_the_agent_posts_nothing(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    posted = node.post(1, share=0.0)
    assert posted.rows == ()
    assert set(node.rows_in(posted).values()) == {0}


def test_what_was_posted_stays_where_the_agent_does_not_post_again(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    node.rows["desk"] = [Example(f"Card {n}", "cards", f"Person {n}") for n in range(10)]
    node.post(1)
    first = node.post(2, share=0.5)
    node.commit(2, first)
    later = node.post(3, share=0.0)
    node.commit(3, later)
    for again in (later, node.post(4, share=0.0)):
        assert again.rows == first.rows
        assert node.rows_in(again)["desk"] == 5
        assert again.fact.share == 0.5
        assert again.fact.point != first.fact.point


def test_what_was_never_committed_is_not_posted_later(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    node.post(1)
    assert node.post(2, share=0.0).rows == ()


def test_only_the_rows_of_the_posted_share_are_listed(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    node.rows["desk"] = [Example(f"Card {n}", "cards", f"Person {n}") for n in range(10)]
    posted = node.post(1, share=0.5)
    inside = listed(posted, node.rows["desk"])
    assert len(inside) == node.rows_in(posted)["desk"] == 5


def test_the_same_rows_are_posted_under_another_point_each_round(tmp_path: Path) -> None:
    node = Node(tmp_path, agreed())
    first, second = (node.session.store.load(node.post(n).fact.artifact) for n in (1, 2))
    differing = [name for name in first if not np.array_equal(first[name], second[name])]
    assert differing == ["statistics/digest.hiding"]


@pytest.mark.parametrize("secret", [b"s" * 32])
def test_a_row_that_is_in_both_parts_counts_once(secret: bytes) -> None:
    once, twice = manifest_of(QUESTIONS, secret), manifest_of(QUESTIONS * 2, secret)
    assert isinstance(once, Manifest)
    assert once.commitment == twice.commitment
