"""The aggregation of a round: check revealed updates, score them, sum them, claim the sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from rescind.aggregator.checks import Verdict, judge
from rescind.aggregator.facts import Submission
from rescind.aggregator.scoring import Scorer, make_scorer
from rescind.aggregator.selection import select
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import (
    AnswerState,
    Contribution,
    MemberStatus,
    Rejection,
    RejectReason,
)
from rescind.core import Term, adapter_totals, encode, served_of, weights


class Aggregation:
    """Aggregates the revealed updates of rounds.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session
        self._scorer: Scorer | None = None
        self._log = structlog.get_logger().bind(organization="aggregator")

    def aggregate(self, round_id: int) -> None:
        """Sum a round's accepted updates in integers, publish the sum, and claim it on chain.

        Two artifacts are published: the sum of the round, and the adapter of the new model, which
        is the sum of all rounds.
        """
        session, consortium, load = (
            self._session,
            self._session.consortium,
            self._session.store.load,
        )
        verdicts = self._verdicts(round_id)
        content = consortium.content(consortium.latest_model_id())
        contributions = self._contributions(round_id, verdicts, content)
        terms = [Term(round_id, c.organization, c.artifact_id, c.weight) for c in contributions]
        aggregate = session.publish(encode(adapter_totals(terms, load)))
        adapter = session.publish(encode(adapter_totals([*content, *terms], load)))
        rejections = [
            Rejection(organization, verdict.reason)
            for organization, verdict in sorted(verdicts.items(), key=lambda item: item[0].lower())
            if verdict.reason is not None
        ]
        consortium.aggregate(
            round_id, contributions, rejections, session.named(aggregate), session.named(adapter)
        )

    def _contributions(
        self, round_id: int, verdicts: Mapping[str, Verdict], content: list[Term]
    ) -> list[Contribution]:
        """Return the weight and score of each accepted update, by ascending organization."""
        session = self._session
        deltas = {
            organization: v.delta for organization, v in verdicts.items() if v.delta is not None
        }
        accepted = sorted(deltas, key=str.lower)
        share = weights(session.parameters.layout, accepted)
        parent = served_of(session.parameters, content, session.store.load)
        scores = self._scores(
            {organization: deltas[organization] for organization in accepted}, parent
        )
        answers = session.consortium.answers(round_id)
        return [
            Contribution(
                organization,
                share[organization],
                scores[organization],
                answers[organization].artifact_id,
                answers[organization].digest_root,
            )
            for organization in accepted
        ]

    def _verdicts(self, round_id: int) -> dict[str, Verdict]:
        """Return the outcome for each revealed update; rejections are logged and recorded."""
        session = self._session
        verdicts = {}
        for organization, answer in session.consortium.answers(round_id).items():
            if answer.state is not AnswerState.REVEALED:
                continue
            if session.consortium.member(organization).status is not MemberStatus.ACTIVE:
                verdicts[organization] = Verdict(
                    reason=RejectReason.WITHDRAWN, what="the organization has asked to be removed"
                )
                continue
            submission = Submission(round_id, organization, answer.artifact_id)
            verdicts[organization] = judge(
                organization,
                answer.artifact_id,
                session.store,
                session.digests,
                session.parameters,
                submitted=submission.holds(session.journal),
                digest_root=answer.digest_root,
                round_id=round_id,
            )
        verdicts = select(session.parameters, verdicts)
        for organization, verdict in verdicts.items():
            if verdict.reason is not None:
                session.record_incident(organization, verdict.reason.name.lower(), verdict.what)
                self._log.warning(
                    "update rejected",
                    round=round_id,
                    organization=organization,
                    reason=verdict.what,
                )
        return verdicts

    def _scores(
        self, deltas: Mapping[str, Mapping[str, Any]], parent: Mapping[str, Any]
    ) -> dict[str, int]:
        # The scorer loads the base model: only once a round has to be scored.
        if self._scorer is None:
            self._scorer = make_scorer(self._session.config, self._session.parameters)
        return self._scorer.score(deltas, parent)
