"""The judgement of a round: check revealed updates, score them, accept or reject them on chain."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog

from rescind.aggregator.checks import Verdict, judge
from rescind.aggregator.facts import AnsweredQuestions, Submission
from rescind.aggregator.hybrid_scoring import HybridScorer, make_hybrid_scorer
from rescind.aggregator.models import Models
from rescind.aggregator.scoring import RoundScorer, Scorer, make_scorer
from rescind.aggregator.selection import select
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.split_scoring import make_split_scorer
from rescind.aggregator.stored_deltas import StoredDeltas
from rescind.contracts import Contribution, MemberStatus, RejectReason, RoundState
from rescind.core import STATISTICS, block, needs_rounds, served_of
from rescind.core.errors import StoreError
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_tensors import named_statistics
from rescind.daemon import Activities, Tell
from rescind.wire import NotPublished

STATISTICS_PART = 1
"""The part of a contribution that holds statistics, where there are any."""


class Aggregation:
    """Judges the revealed updates of rounds.

    Args:
        session: The aggregator's session.
        models: Names the contributions behind a model.
    """

    def __init__(self, session: AggregatorSession, models: Models) -> None:
        self._session, self._models = session, models
        self._scorer: Scorer | HybridScorer | None = None
        self._activities = Activities(session.folder)
        self._log = structlog.get_logger().bind(organization="aggregator")

    def judge(self, round_id: int) -> None:
        """Accept the updates that pass the checks, with their scores, and reject the others."""
        session = self._session
        verdicts = self._verdicts(round_id)
        # In a split coupling both deltas of a contribution are scored together.
        further = self._shared_deltas(round_id) if session.parameters.split else {}
        accepted = {
            organization: (verdict.artifact_id, *further.get(organization, ()))
            for organization, verdict in sorted(verdicts.items(), key=lambda item: item[0].lower())
            if verdict.accepted
        }
        reasons = {
            organization: verdict.reason
            for organization, verdict in verdicts.items()
            if verdict.reason is not None
        }
        deltas = StoredDeltas(session.store, accepted)
        scores = self._scores(deltas, round_id) if accepted else {}
        session.consortium.judge(round_id, scores, reasons)

    def _shared_deltas(self, round_id: int) -> dict[str, tuple[str, ...]]:
        """Return the artifact of each organization's shared ranks in a round."""
        revealed = self._session.consortium.contributions(round_id)
        return {each.organization: each.parts.artifact_ids[1:] for each in revealed}

    def _verdicts(self, round_id: int) -> dict[str, Verdict]:
        """Return the outcome for each revealed update; rejections are logged and recorded."""
        session = self._session
        verdicts = {
            contribution.organization: self._verdict(contribution)
            for contribution in session.consortium.contributions(round_id)
        }
        verdicts = select(session.parameters, verdicts, session.store)
        for organization, verdict in verdicts.items():
            if verdict.reason is not None:
                session.record_incident(
                    organization, verdict.reason.name.lower(), verdict.what, at_will=False
                )
                self._log.warning(
                    "update rejected",
                    round=round_id,
                    organization=organization,
                    reason=verdict.what,
                )
        return verdicts

    def _verdict(self, contribution: Contribution) -> Verdict:
        session, organization = self._session, contribution.organization
        if session.consortium.member(organization).status is not MemberStatus.ACTIVE:
            return Verdict(reason=RejectReason.WITHDRAWN, what="the organization has left")
        verdicts = [
            judge(
                organization,
                artifact_id,
                session.store,
                session.digests,
                session.parameters,
                submitted=Submission(contribution.round_id, organization, artifact_id, part).holds(
                    session.journal
                ),
                point_hash=contribution.parts.point_hashes[part],
                round_id=contribution.round_id,
                part=part,
                member=contribution.member_number,
            )
            for part, artifact_id in enumerate(contribution.parts.artifact_ids)
        ]
        refused = next((each for each in verdicts if not each.accepted), None)
        if refused is None and all(each.empty for each in verdicts):
            return Verdict(
                reason=RejectReason.ZERO,
                what="every value of the delta is zero, and so is what is beside it",
            )
        # The artifact of the first part is the delta.
        return refused or verdicts[0]

    def _scores(self, deltas: Mapping[str, Mapping[str, Any]], round_id: int) -> dict[str, int]:
        with self._activities.during("scoring", round_id=round_id) as tell:
            return self._scored(deltas, round_id, tell)

    def _scored(
        self, deltas: Mapping[str, Mapping[str, Any]], round_id: int, tell: Tell
    ) -> dict[str, int]:
        # The scorer loads the base model: only once a round has to be scored.
        session = self._session
        settings = (session.config, session.parameters, session.benchmark)
        if self._scorer is None:
            self._scorer = (
                make_hybrid_scorer(*settings)
                or make_split_scorer(*settings)
                or make_scorer(*settings)
            )
        scorer = self._scorer
        blocks = scorer.blocks if isinstance(scorer, HybridScorer) else scorer
        if isinstance(blocks, RoundScorer):
            blocks.tell = tell
        if not isinstance(scorer, HybridScorer):
            return scorer.score(deltas, self._parent())
        consortium = session.consortium
        posted = {
            each.organization: each.parts.artifact_ids[STATISTICS_PART]
            for each in consortium.contributions(round_id)
            if each.organization in deltas
        }
        terms = self._models.terms(consortium.content(consortium.latest_model_id()))
        before = {
            term.organization: term.artifact_id
            for term in terms
            if term.part == STATISTICS_PART and self._models.opens(term)
        }
        answered = self._answered(round_id)
        scores = scorer.score(
            deltas,
            self._parent(),
            self._statistics(posted),
            self._statistics(before),
            answered,
        )
        AnsweredQuestions(round_id, sorted(scorer.answered)).save(session.journal)
        return scores

    def _answered(self, round_id: int) -> frozenset[str]:
        """Return the questions that the heads of a model before a round answered right."""
        session = self._session

        def is_final(earlier: int) -> bool:
            return session.consortium.round(earlier).state is RoundState.FINAL

        last = AnsweredQuestions.before(session.journal, round_id, is_final)
        if last is None:
            return frozenset()
        last.delete_earlier(session.journal)
        return frozenset(last.questions)

    def _statistics(self, artifacts: Mapping[str, str]) -> dict[str, dict[str, RowStatistics]]:
        """Return statistics by organization and task, from the artifact of each organization."""
        session = self._session
        agreed = session.parameters.statistics
        assert agreed is not None
        statistics = {}
        for organization, artifact_id in artifacts.items():
            tensors = session.store.load(artifact_id)
            statistics[organization] = named_statistics(agreed, block(tensors, STATISTICS))
        return statistics

    def _parent(self) -> Mapping[str, Any]:
        """Return the adapter that the round started from, as views of its file where there is one."""
        session = self._session
        model_id = session.consortium.latest_model_id()
        if not needs_rounds(session.parameters):
            with suppress(NotPublished, StoreError):
                return session.store.load(self._models.files(model_id).adapter_id)
        every = session.parameters.split is not None
        consortium = session.consortium
        content = consortium.contents(model_id) if every else consortium.content(model_id)
        terms = [term for term in self._models.terms(content) if self._models.opens(term)]
        return served_of(session.parameters, terms, session.store.load)
