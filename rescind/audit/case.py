"""One piece of evidence, with the chain and the artifacts that an auditor compares it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from rescind.audit.findings import NotAttested
from rescind.audit.issue import find_withdrawal
from rescind.audit.stores import Stores
from rescind.contracts import Amendment, ConsortiumReader, Contribution, Entry, Withdrawal
from rescind.core import (
    AttestationLimits,
    ConsortiumParameters,
    Term,
    Totals,
    adapter_totals,
    add_totals,
    by_round,
    encoded_id,
    expected_delta,
    needs_rounds,
)
from rescind.core.errors import VerificationError
from rescind.core.round_sums import round_sum, served
from rescind.withdrawals import EvidenceDocument, OfferedPart, last_offers

Tensors = Mapping[str, NDArray[Any]]

BASE_MODEL = ""
"""The start in a report of a round before which nothing was summed."""


class Case:
    """The values that the checks of one piece of evidence share.

    Args:
        reader: The chain.
        evidence: The evidence.
        stores: The artifacts at hand.
    """

    def __init__(
        self, reader: ConsortiumReader, evidence: EvidenceDocument, stores: Stores
    ) -> None:
        self.reader, self.evidence, self.stores = reader, evidence, stores

    @cached_property
    def withdrawal(self) -> Withdrawal:
        """The withdrawal on chain.

        Raises:
            NotAttested: There is none.
        """
        try:
            return find_withdrawal(self.reader, self.evidence.withdrawal_id)
        except VerificationError as error:
            raise NotAttested(str(error)) from error

    @cached_property
    def source(self) -> int:
        """The last model without the amendment, in the line of the model."""
        return self._last_before(self.evidence.amendment)

    @cached_property
    def offers(self) -> list[Contribution]:
        """The offers; the last one where an offer was repeated."""
        return last_offers(self.reader, self.evidence.withdrawal_id)

    @cached_property
    def parameters(self) -> ConsortiumParameters | None:
        """The agreed parameters; None if they are not at hand."""
        data = self.stores.load(self.reader.settings().parameters_id)
        return None if data is None else ConsortiumParameters.parse(bytes(data))

    @property
    def limits(self) -> AttestationLimits:
        """Limits that the consortium agreed on, or else the defaults."""
        return AttestationLimits() if self.parameters is None else self.parameters.attestation

    @cached_property
    def content(self) -> list[Entry]:
        """The content of the model."""
        return self.reader.content(self.evidence.model.model_id)

    def offered_part(self, offer: Contribution) -> OfferedPart:
        """Return what the evidence says of an offer."""
        place = (offer.offer_id, offer.round_id, offer.organization)
        return next(
            each
            for each in self.evidence.offered
            if (each.offer_id, each.round_id, each.organization) == place
        )

    def start(self, content: Sequence[Entry], offered: OfferedPart | Contribution) -> list[Entry]:
        """Return what a round starts from in a content.

        It holds the rounds before, and the counter-deltas that the model had from which the round
        was trained at first.

        Args:
            content: The content of a model.
            offered: A delta of the round.
        """
        parent = self.reader.round(offered.round_id).parent_model
        counters = {each.point_hash for each in self.reader.content(parent) if not each.round_id}
        own_only = self.reader.settings().chained is False
        return [
            each
            for each in content
            if (0 < each.round_id < offered.round_id)
            or (not each.round_id and each.point_hash in counters)
            if not own_only or each.organization == offered.organization
        ]

    def first_start(self, offer: Contribution, replaced: Contribution) -> list[Entry]:
        """Return what the delta that an offer replaces was trained from."""
        if not replaced.offer_id:
            parent = self.reader.round(replaced.round_id).parent_model
            return self.start(self.reader.content(parent), replaced)
        # An earlier replay registered it: the first model that holds it has the replay's rounds.
        number = self._before(offer)
        content = self.reader.content(number)
        while before := self.reader.model(number).source:
            earlier = self.reader.content(before)
            if all(each.point_hash != replaced.parts.point_hashes[0] for each in earlier):
                break
            number, content = before, earlier
        return self.start(content, replaced)

    def sum_id(self, entries: Iterable[Entry]) -> str | None:
        """Return the id of a sum, or None if a contribution is not at hand."""
        wanted = list(entries)
        if not wanted:
            return BASE_MODEL
        totals = self.totals(wanted)
        return None if totals is None else encoded_id(totals)

    def totals(self, entries: Sequence[Entry]) -> Totals | None:
        """Return a weighted sum, or None if a contribution is not at hand."""
        terms = self._terms(entries)
        load = self._load(terms)
        return None if load is None else adapter_totals(terms, load)

    def served(self, entries: Sequence[Entry]) -> Totals | None:
        """Return what is served as a model of a content, or None if something is not at hand."""
        parameters, terms = self.parameters, self._terms(entries)
        load = self._load(terms)
        if parameters is None or load is None:
            return None
        if not needs_rounds(parameters):
            return adapter_totals(terms, load)
        sums = [round_sum(number, group, load) for number, group in by_round(terms).items()]
        counters = add_totals(each.aggregate for each in sums if not each.round_id)
        return served(parameters, tuple(each for each in sums if each.round_id), counters)

    def delta(self, contribution: Contribution) -> Tensors | None:
        """Return a contribution's tensors, or None if they are not at hand."""
        return self.tensors(contribution.parts.artifact_ids[0], contribution.organization)

    def tensors(self, wanted_id: str, organization: str) -> Tensors | None:
        """Return the tensors of an organization's delta, or None if they are not at hand.

        Its header is checked against the agreed tensors before anything is parsed.
        """
        agreed = self.parameters
        expected = expected_delta(agreed, organization) if agreed is not None else None
        return self.stores.tensors(wanted_id, expected)

    def replaced(self, offer: Contribution) -> Contribution | None:
        """Return the contribution that an offer replaces; None for a counter-delta.

        That is the one in the model before: the delta of an earlier replay or replacement, where
        there was one, and otherwise what the organization revealed.
        """
        if not offer.round_id:
            return None
        before = [
            each
            for each in self.reader.content(self._before(offer))
            if (each.round_id, each.organization) == (offer.round_id, offer.organization)
        ]
        if before:
            return self.reader.registered(before[:1])[0]
        revealed = self.reader.contributions(offer.round_id)
        return next((each for each in revealed if each.organization == offer.organization), None)

    def _before(self, offer: Contribution) -> int:
        """Return the last model that was made without an offer.

        A member that replays a subject away replaces its own first delta before the replay starts,
        by an amendment of its own. So the last model before the replay may hold its offer already.
        """
        amendment = self.evidence.amendment
        if offer.offer_id == self.evidence.withdrawal_id:
            own = (a.number for a in self._amendments if a.offer_id == offer.offer_id)
            amendment = min((amendment, *own))
        return self._last_before(amendment)

    @cached_property
    def _amendments(self) -> list[Amendment]:
        return self.reader.amendments()

    def _last_before(self, amendment: int) -> int:
        number = self.evidence.model.model_id
        while number and self.reader.model(number).amendments >= amendment:
            number = self.reader.model(number).source
        return number

    def _terms(self, entries: Sequence[Entry]) -> list[Term]:
        return [
            Term(
                entry.round_id,
                entry.organization,
                each.parts.artifact_ids[0],
                entry.weight,
                entry.point_hash,
            )
            for entry, each in zip(entries, self.reader.registered(entries), strict=True)
        ]

    def _load(self, terms: Sequence[Term]) -> Callable[[str], Tensors] | None:
        """Return what loads the terms one at a time, or None if one is not at hand."""
        if not all(self.stores.has(term.artifact_id) for term in terms):
            return None
        by_id = {term.artifact_id: term.organization for term in terms}
        return lambda each: self.tensors(each, by_id[each]) or {}
