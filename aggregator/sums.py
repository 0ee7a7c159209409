"""Published sums of single rounds, for nodes that apply a server optimizer to them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rescind.aggregator.models import Models
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import Entry
from rescind.core import needs_rounds
from rescind.wire import ModelFiles, WrongPhase


class RoundSums:
    """The sum of each round with its opening, computed once and published.

    Sums are given out only where members need them: anyone who has a round's sum both with and
    without an organization can derive its delta.

    Args:
        session: The aggregator's session.
        models: Builds the sums.
    """

    def __init__(self, session: AggregatorSession, models: Models) -> None:
        self._session, self._models = session, models

    def of_model(self, model_id: int) -> list[ModelFiles]:
        """Return the sum of each round in a model; see `of`.

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

    def of(self, entries: Iterable[Entry]) -> list[ModelFiles]:
        """Return the sum of each round in a set of entries, with its opening.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            WrongPhase: No member needs the rounds of a model.
            NotPublished: A contribution is missing.
        """
        self._check_needed()
        ordered = sorted(entries, key=lambda each: (each.round_id, each.member_number))
        return [
            self._models.sum_of(tuple(group))
            for _, group in groupby(ordered, key=lambda each: each.round_id)
        ]

    def _check_needed(self) -> None:
        parameters = self._session.parameters
        if parameters.layout != "shared" or not needs_rounds(parameters):
            raise WrongPhase(
                "this consortium does not give out the sums of single rounds: its members do not "
                "need them to train or to serve"
            )
