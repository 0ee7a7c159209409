"""Contributions that members hand over, so that a new aggregator can rebuild every sum."""

from __future__ import annotations

from rescind.aggregator.checks import judge
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import Contribution
from rescind.wire import DeltaRefused, WrongPhase


class HandOver:
    """Contributions that members hand over. Each contribution is checked by its registered point.

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
            artifact_id
            for offer in self._offers.open_offers(organization)
            for artifact_id in offer.parts.artifact_ids
            if not store.has(artifact_id)
        ]
        return list(dict.fromkeys([*self._models.missing_of(organization), *offered]))

    def is_expected(self, organization: str, artifact_id: str) -> bool:
        """Return whether a contribution is wanted, or was and has come already."""
        if artifact_id in self.wanted(organization):
            return True
        has = self._session.store.has(artifact_id)
        return has and bool(self._registered(organization, artifact_id))

    def check(self, organization: str, artifact_id: str) -> None:
        """Check that a contribution is expected.

        Raises:
            WrongPhase: It is not.
        """
        if not self.is_expected(organization, artifact_id):
            raise WrongPhase(
                f"artifact {artifact_id} is not a contribution of {organization} that is missing "
                "here: hand over only what GetWanted names"
            )

    def take(self, organization: str, artifact_id: str) -> None:
        """Check a contribution in the store like those of a round, with its registered point.

        Raises:
            DeltaRefused: The bytes are not an agreed delta, or have another commitment.
        """
        session, what = self._session, ""
        registered = self._registered(organization, artifact_id)
        for each, part in registered:
            with session.judging:
                verdict = judge(
                    organization,
                    artifact_id,
                    session.store,
                    session.digests,
                    session.parameters,
                    submitted=True,
                    point_hash=each.parts.point_hashes[part],
                    round_id=each.round_id,
                    part=part,
                    member=each.member_number,
                )
            if verdict.accepted:
                return
            what = verdict.what
        raise DeltaRefused(what)

    def _registered(self, organization: str, artifact_id: str) -> list[tuple[Contribution, int]]:
        """Return what the organization registered with an artifact, newest first, and as which part."""
        consortium = self._session.consortium
        revealed = [
            each
            for number in range(1, consortium.current_round_id() + 1)
            for each in consortium.contributions(number)
        ]
        own = [
            each for each in [*revealed, *consortium.offers()] if each.organization == organization
        ]
        parts = [(each, each.parts.part_with(artifact_id)) for each in reversed(own)]
        return [(each, part) for each, part in parts if part is not None]
