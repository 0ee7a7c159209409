"""Contributions that members hand over, so that a new aggregator can rebuild every sum."""

from __future__ import annotations

from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.core import decode
from rescind.core.errors import ArtifactError
from rescind.wire import DeltaRefused, WrongPhase


class HandOver:
    """What members hand over. Each contribution is checked by its registered point alone.

    Args:
        session: The aggregator's session.
        models: Knows what the models in use contain.
        offers: Deltas for withdrawals and replays.
    """

    def __init__(self, session: AggregatorSession, models: Models, offers: Offers) -> None:
        self._session, self._models, self._offers = session, models, offers

    def wanted(self, organization: str) -> list[str]:
        """Return the organization's contributions that are needed and not in the store."""
        store = self._session.store
        offered = [
            offer.parts.artifact_ids[0]
            for offer in self._offers.open_offers(organization)
            if not store.has(offer.parts.artifact_ids[0])
        ]
        return list(dict.fromkeys([*self._models.missing_of(organization), *offered]))

    def check(self, organization: str, artifact_id: str) -> None:
        """Check that a contribution is wanted.

        Raises:
            WrongPhase: It is not, or it is in the store already under another upload.
        """
        if artifact_id not in self.wanted(organization) and not self._session.store.has(
            artifact_id
        ):
            raise WrongPhase(
                f"artifact {artifact_id} is not a contribution of {organization} that is missing "
                "here: hand over only what GetWanted names"
            )

    def take(self, organization: str, artifact_id: str, data: bytes) -> None:
        """Keep a contribution if its commitment is the registered one.

        Raises:
            DeltaRefused: The bytes are not a delta, or have another commitment.
        """
        session = self._session
        if session.store.has(artifact_id):
            return
        points = self._registered(organization, artifact_id)
        try:
            decode(data, max_bytes=session.parameters.max_artifact_bytes)
            session.store.put(data)
            own = session.digests.point_hash(artifact_id)
        except ArtifactError as error:
            session.store.delete(artifact_id)
            raise DeltaRefused(str(error)) from error
        if own not in points:
            session.store.delete(artifact_id)
            raise DeltaRefused(
                f"the commitment of artifact {artifact_id} has hash {own}, which {organization} "
                "did not register with it"
            )

    def _registered(self, organization: str, artifact_id: str) -> set[str]:
        """Return the hashes of the points that the organization registered with an artifact."""
        consortium = self._session.consortium
        revealed = [
            each
            for number in range(1, consortium.current_round_id() + 1)
            for each in consortium.contributions(number)
        ]
        return {
            each.parts.point_hashes[0]
            for each in [*revealed, *consortium.offers()]
            if (each.organization, each.parts.artifact_ids[0]) == (organization, artifact_id)
        }
