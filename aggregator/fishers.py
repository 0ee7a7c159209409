"""Fishers that organizations post with their updates, and their mean over all organizations' data.

The Fisher of a single organization is never given out: members get the mean only.
"""

from __future__ import annotations

from collections.abc import Sequence

from rescind.aggregator.facts import MeanFisher, PostedFisher, Published
from rescind.aggregator.session import AggregatorSession
from rescind.core import SHARED, artifact_id
from rescind.core.errors import ArtifactError
from rescind.core.posted import (
    Posted,
    check_posted,
    combine_stored,
    decode,
    expected_shapes,
)
from rescind.unlearning.closed_form.settings import FisherMeasure
from rescind.wire import NotPublished, StatisticsRefused, WrongPhase

_FEWEST = 2
"""Organizations in a mean: a mean over one would be that organization's own Fisher."""


class Fishers:
    """The posted Fishers of a consortium.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session

    def check_wanted(self) -> None:
        """Check that the consortium agreed to post Fishers.

        Raises:
            WrongPhase: It did not.
        """
        if not self._session.parameters.post_fisher:
            raise WrongPhase(
                "this consortium posts no Fishers: post_fisher is not agreed on in its parameters"
            )

    def take(self, organization: str, round_id: int, artifact_id: str) -> str:
        """Check a Fisher in the store, and record that it was posted with an update.

        Args:
            organization: EIP-55 address of the organization.
            round_id: The round of the update.
            artifact_id: The encoded statistics.

        Returns:
            The Fisher of the round that it replaces; empty if there was none, or the same.

        Raises:
            StatisticsRefused: It is not a Fisher of the shared adapter, measured as agreed.
        """
        session = self._session
        try:
            parameters = session.parameters
            shapes = expected_shapes("fisher", parameters)
            with session.judging:
                data = session.store.view(artifact_id)
                limit = parameters.artifact_limits.fisher
                self._check(decode(data, max_bytes=limit, shapes=shapes))
        except ArtifactError as error:
            raise StatisticsRefused(str(error)) from error
        earlier = PostedFisher.load(session.journal, round_id, organization)
        PostedFisher(round_id, organization, artifact_id).save(session.journal)
        replaced = earlier.artifact_id if earlier else ""
        return "" if replaced == artifact_id else replaced

    def of_model(self, model_id: int) -> str:
        """Publish the mean Fisher over the data of all organizations in a model.

        For each organization, the one that it posted last counts.

        Returns:
            The artifact id of the mean.

        Raises:
            WrongPhase: There is no such model.
            NotPublished: Fewer than two organizations in the model have posted one.
        """
        self.check_wanted()
        session = self._session
        if not 1 <= model_id <= session.consortium.model_count():
            raise WrongPhase(
                f"there is no model {model_id}: the latest is {session.consortium.model_count()}"
            )
        last: dict[str, str] = {}
        entries = session.consortium.content(model_id)
        for term in sorted(entries, key=lambda each: each.round_id):
            fact = PostedFisher.load(session.journal, term.round_id, term.organization)
            if fact is not None and session.store.has(fact.artifact_id):
                last[term.organization] = fact.artifact_id
        if len(last) < _FEWEST:
            raise NotPublished(
                f"{len(last)} organizations in model {model_id} have posted a Fisher: a mean over "
                f"fewer than {_FEWEST} would reveal a single organization's Fisher"
            )
        sources = tuple(last.values())
        return self._published_mean(sources) or self._publish_mean(sources)

    def _published_mean(self, sources: Sequence[str]) -> str:
        """Return the mean of some Fishers that was published already; empty if none was.

        Without this a request of a few bytes would read every Fisher again.
        """
        session = self._session
        for fact in MeanFisher.all(session.journal):
            known = tuple(fact.sources) == tuple(sources)
            if known and Published(fact.artifact_id).holds(session.journal):
                return fact.artifact_id
        return ""

    def _publish_mean(self, sources: Sequence[str]) -> str:
        session = self._session
        mean = combine_stored(sources, lambda each: decode(session.store.view(each)))
        data = mean.encode()
        # Before it is published: what is published is on record, so that it can be erased.
        MeanFisher(artifact_id(data), tuple(sources)).save(session.journal)
        return session.publish(data)

    def _check(self, posted: Posted) -> None:
        check_posted(
            posted,
            kind="fisher",
            parameters=self._session.parameters,
            owner=SHARED,
            measure=str(FisherMeasure()),
        )
