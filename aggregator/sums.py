"""Published sums of single rounds, for nodes that apply a server optimizer to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rescind.aggregator.facts import RoundSumFact
from rescind.aggregator.session import AggregatorSession
from rescind.core import Term, adapter_totals, by_round, encode, needs_rounds, sum_key
from rescind.wire import WrongPhase


class RoundSums:
    """The sum of each round, computed once and published.

    Sums are given out only where members need them: anyone who has a round's sum both with and
    without an organization can derive its delta.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session

    def of_model(self, model_id: int) -> list[str]:
        """Return the id of the sum of each round in a model; see `of`.

        Raises:
            WrongPhase: There is no such model, or no member needs its rounds.
        """
        self._check_needed()
        consortium = self._session.consortium
        if not 1 <= model_id <= consortium.model_count():
            raise WrongPhase(
                f"there is no model {model_id}: the latest is {consortium.model_count()}"
            )
        return self.of(consortium.content(model_id))

    def of(self, terms: Iterable[Term]) -> list[str]:
        """Return the id of the sum of each round in a set of terms.

        Args:
            terms: Weighted deltas of any rounds.

        Returns:
            Artifact ids by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            WrongPhase: No member needs the rounds of a model.
        """
        self._check_needed()
        return [self._publish(group) for group in by_round(terms).values()]

    def _check_needed(self) -> None:
        parameters = self._session.parameters
        if parameters.layout != "shared" or not needs_rounds(parameters):
            raise WrongPhase(
                "this consortium does not give out the sums of single rounds: its members do not "
                "need them to train or to serve"
            )

    def _publish(self, group: Sequence[Term]) -> str:
        journal, store = self._session.journal, self._session.store
        recorded = RoundSumFact.load(journal, group)
        if recorded is not None and store.has(recorded.artifact_id):
            return recorded.artifact_id
        artifact_id = self._session.publish(encode(adapter_totals(group, store.load)))
        RoundSumFact(sum_key(group), artifact_id).save(journal)
        return artifact_id
