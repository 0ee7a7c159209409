"""The node's statistics: sums over rows of its own that it contributes beside its block."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import structlog
from numpy.typing import NDArray

from rescind.core import commit, digest, encode
from rescind.core.features import HiddenFeatures, HiddenSource, feature_rows, hidden_maps
from rescind.core.router_statistics import ROUTER
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_noise import (
    GaussianNoise,
    NoiseSpent,
    Posting,
    budget_record,
    next_posting,
)
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import contributed_tensors, kept_statistics, with_noise
from rescind.node.facts import Fact, RoundFacts, StatisticsFact
from rescind.node.hiding import hiding_noise
from rescind.node.session import Session

if TYPE_CHECKING:
    from rescind.training import Example


@dataclass(frozen=True)
class NoiseFact(Fact):
    """The noise on the node's statistics.

    Attributes:
        secret: The secret that it is drawn from, hexadecimal. Anyone who knows it can take it off.
        number: The last posting; 0 before the first.
        exact: The SHA-256 of the statistics in it, without noise.
    """

    KEY: ClassVar[str] = "statistics-noise"

    secret: str
    number: int = 0
    exact: str = ""

    @property
    def key(self) -> str:
        return self.KEY

    @classmethod
    def of(cls, session: Session) -> NoiseFact:
        """Return the node's fact; a new one with a fresh secret before the first posting."""
        return cls._load(session.journal, cls.KEY) or cls(secrets.token_hex(32))

    @property
    def last(self) -> Posting | None:
        """The last posting."""
        return Posting(self.number, self.exact) if self.number else None


@dataclass(frozen=True)
class PostedStatistics:
    """Statistics of a contribution, and what they are sums of.

    Attributes:
        fact: The artifact in the node's store.
        rows: The rows in the sums, questions for the router included. Rows of which too few were
            there, or for whose noise no epsilon is left, are in no sum and not among them.
    """

    fact: StatisticsFact
    rows: tuple[Example, ...]


def contribute_statistics(
    session: Session, agreed: StatisticsParameters, round_id: int, offer_id: int | None
) -> PostedStatistics:
    """Sum over the rows that the agent last decided to post, and store the artifact.

    Rows of withdrawn data subjects are left out.

    Args:
        session: The node's session.
        agreed: What the members agreed on.
        round_id: The round.
        offer_id: The withdrawal or replay that the statistics are offered for, if it is one.
    """
    posting = _posting_round(session, round_id)
    share = RoundFacts.load(session.journal, posting).action.statistics
    rows = _rows_to_post(session, agreed, posting)
    summed = _summed(session, agreed, rows) if share else {}
    kept: Mapping[str, RowStatistics] = kept_statistics(agreed, summed)
    if agreed.noise is not None and kept:
        kept = _noisy(session, agreed, agreed.noise, kept)
    tensors = contributed_tensors(
        agreed, kept, lambda sums: hiding_noise(session, sums, round_id, offer_id)
    )
    fact = StatisticsFact(
        artifact=session.store.put(encode(tensors)),
        point=commit(digest(tensors)).hex(),
        share=share if kept else 0.0,
    )
    return PostedStatistics(fact, tuple(row for name in kept for row in rows[name]))


def _posting_round(session: Session, round_id: int) -> int:
    """Return the round whose decision says which rows are in the statistics of a round.

    It is the last in which the agent decided to post. Statistics are state: not to post leaves what
    was posted, and sums of no rows would take it away.
    """
    posting = [
        facts.round_id
        for facts in RoundFacts.all(session.journal)
        if facts.action.statistics
        and (facts.round_id == round_id or (facts.round_id < round_id and facts.update))
    ]
    return max(posting, default=round_id)


def _rows_to_post(
    session: Session, agreed: StatisticsParameters, round_id: int
) -> dict[str, list[Example]]:
    """Return the rows of each task, and for the router those of the data that the block learns.

    They are the share that the agent decided on, without those of withdrawn data subjects.
    """
    located = {name: session.statistics_rows.get(name, ()) for name in agreed.tasks}
    rows = {
        name: session.without_withdrawn([each.example for each in own])
        for name, own in located.items()
    }
    if agreed.router is not None:
        rows[ROUTER] = list(session.examples)
    return {name: _share(session, own, round_id) for name, own in rows.items()}


def _summed(
    session: Session, agreed: StatisticsParameters, rows: Mapping[str, Sequence[Example]]
) -> dict[str, RowStatistics]:
    """Return the sums over rows, by the names of `agreed.summed`."""
    from rescind.training.text.question import question_text

    texts = {name: [row.question for row in rows[name]] for name in agreed.tasks}
    if agreed.router is not None:
        texts[ROUTER] = [question_text(row) for row in rows[ROUTER]]
    hidden = _hidden_rows(session, agreed, texts)
    sums = {}
    for name, task in agreed.tasks.items():
        labels = [row.answer for row in rows[name]]
        features = feature_rows(task.features, texts[name], hidden)
        sums[name] = task.collect(texts[name], labels, features)
    if agreed.router is not None:
        member = session.consortium.member(session.me).number
        features = feature_rows(agreed.router.features, texts[ROUTER], hidden)
        sums[ROUTER] = agreed.router.collect(features, member)
    return sums


def _hidden_rows(
    session: Session, agreed: StatisticsParameters, texts: Mapping[str, Sequence[str]]
) -> HiddenSource | None:
    """Return what computes hidden states, where an agreed map reads them, without stale rows.

    Rows are computed once and kept, so that sums without a data subject are of the same integers.
    """
    maps = {name: classes.features for name, classes in agreed.summed.items()}
    reading = {name: each for name, each in maps.items() if any(hidden_maps(each))}
    if not reading:
        return None
    from rescind.training.features import FeatureStore, HiddenRows

    def computed(features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        # The model is loaded only where a row is missing. Adapters would change its states.
        session.model.use(None)
        return HiddenRows(session.model.base)(features, texts)

    store = FeatureStore(session.config.node.state_dir / "features.db", computed)
    store.keep((features, texts[name]) for name, features in reading.items())
    return store


def _noisy(
    session: Session,
    agreed: StatisticsParameters,
    noise: GaussianNoise,
    rows: Mapping[str, RowStatistics],
) -> Mapping[str, RowStatistics]:
    """Return the statistics with the agreed noise; none once the agreed epsilon is spent."""
    fact = NoiseFact.of(session)
    exact = encode(
        {f"{task}/{name}": v for task, own in rows.items() for name, v in own.tensors().items()}
    )
    try:
        posting = next_posting(noise, fact.last, exact)
    except NoiseSpent as error:
        structlog.get_logger().error("no statistics", reason=str(error))
        return {}
    # Durable before anything is posted: another secret would give other noise to the same rows.
    NoiseFact(fact.secret, posting.number, posting.exact).save(session.journal)
    session.ledger.append(
        "privacy-budget",
        budget_record(noise, posting),
        key=f"statistics/privacy-budget/{posting.number}",
    )
    return with_noise(agreed, rows, bytes.fromhex(fact.secret), posting)


def _share(session: Session, examples: Sequence[Example], round_id: int) -> list[Example]:
    from rescind.training import choose, round_seed

    share = RoundFacts.load(session.journal, round_id).action.statistics
    if not share or not examples:
        return []
    return choose(examples, share, round_seed(session.parameters.seed, session.me, round_id))
