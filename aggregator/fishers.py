"""Fishers that organizations post with their updates, and their mean over everybody's data.

One organization's is shown to nobody: members are given the mean alone.
"""

from __future__ import annotations

from rescind.contracts import Consortium
from rescind.core import SHARED, ArtifactStore, ConsortiumParameters
from rescind.core.errors import ArtifactError
from rescind.core.statistics import (
    Posted,
    check_posted,
    combine,
    decode,
)
from rescind.daemon import Journal
from rescind.unlearning.closed_form.settings import FisherMeasure
from rescind.wire import NotPublished, StatisticsRefused, WrongPhase

_LEAST = 2
"""Organizations in a mean: the mean over one is that one's."""


class Fishers:
    def __init__(
        self,
        consortium: Consortium,
        parameters: ConsortiumParameters,
        journal: Journal,
        store: ArtifactStore,
    ) -> None:
        self._consortium, self._parameters = consortium, parameters
        self._journal, self._store = journal, store

    def check_wanted(self) -> None:
        """Raises WrongPhase where the consortium did not agree on it."""
        if not self._parameters.post_fisher:
            raise WrongPhase(
                "no Fishers are posted in this consortium: post_fisher is not agreed on"
            )

    def take(self, organization: str, round_id: int, data: bytes) -> None:
        """Keep what was posted with an update. Raises StatisticsRefused for anything that is not a Fisher
        of the shared adapter, measured as agreed."""
        try:
            self._check(decode(data, max_bytes=self._parameters.max_artifact_bytes))
        except ArtifactError as error:
            raise StatisticsRefused(str(error)) from error
        self._journal.set(_key(round_id, organization), self._store.put(data))

    def of_model(self, model_id: int) -> str:
        """Publish the mean over the data of everybody in a model, of the last that each posted.

        Raises WrongPhase when there is no such model, NotPublished when fewer than two have posted.
        """
        self.check_wanted()
        if not 1 <= model_id <= self._consortium.model_count():
            raise WrongPhase(f"there is no model {model_id}")
        last: dict[str, str] = {}
        for term in sorted(self._consortium.content(model_id), key=lambda it: it.round_id):
            found = self._journal.get(_key(term.round_id, term.organization))
            if found is not None:
                last[term.organization] = str(found)
        if len(last) < _LEAST:
            raise NotPublished(
                f"{len(last)} organizations in model {model_id} have posted a Fisher: a mean over fewer "
                f"than {_LEAST} would show one's own"
            )
        mean = combine([decode(self._store.get(artifact)) for artifact in last.values()])
        artifact = self._store.put(mean.encode())
        self._journal.set(f"published/{artifact}", True)
        return artifact

    def _check(self, posted: Posted) -> None:
        check_posted(
            posted,
            kind="fisher",
            parameters=self._parameters,
            owner=SHARED,
            measure=str(FisherMeasure()),
        )


def _key(round_id: int, organization: str) -> str:
    return f"fisher/{round_id:06d}/{organization}"
