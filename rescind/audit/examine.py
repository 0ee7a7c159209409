"""An auditor's checks of the evidence of a replay or a counter-training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.audit.contribution import check_contribution
from rescind.audit.findings import Finding, NotAttested, same
from rescind.audit.issue import find_withdrawal
from rescind.audit.stores import Stores
from rescind.contracts import ConsortiumReader, Contribution, Entry, Withdrawal, WithdrawalState
from rescind.core import (
    WEIGHT_ONE,
    ConsortiumParameters,
    Term,
    Totals,
    adapter_totals,
    add_totals,
    artifact_id,
    encode,
    expected_delta,
    l2_norm,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import VerificationError
from rescind.wire import BadSignature, offer_typed_data, recover_signer
from rescind.withdrawals import (
    EvidenceDocument,
    OfferedPart,
    accept_files,
    missing_figures,
    record_of,
)

_BASE_MODEL = ""
"""The start in a report of a round before which nothing was summed."""


class Examiner:
    """The checks of one piece of evidence.

    Each check returns a finding or raises NotAttested.

    Args:
        reader: The chain.
        evidence: The evidence.
        stores: The artifacts at hand.
    """

    def __init__(
        self, reader: ConsortiumReader, evidence: EvidenceDocument, stores: Stores
    ) -> None:
        self._reader, self._evidence, self._stores = reader, evidence, stores

    def findings(self) -> list[Finding]:
        """Make every check, in order.

        Raises:
            NotAttested: The first check that failed.
        """
        checks = (
            self.withdrawal,
            self.model,
            self.offers,
            self.figures,
            self.starts,
            self.contributions,
            self.distances,
            self.change,
            self.adapter,
        )
        return [check() for check in checks]

    def withdrawal(self) -> Finding:
        """The withdrawal on chain is the one in the evidence, and waits for auditors."""
        evidence, deployment = self._evidence, self._reader.deployment
        same("chain", evidence.chain_id, deployment.chain_id)
        same("contract", evidence.withdrawals, deployment.withdrawals)
        withdrawal = self._withdrawal
        same("state", WithdrawalState.ATTESTING.value, withdrawal.state.value)
        same("method", evidence.method, withdrawal.method.value)
        same("organization", evidence.organization, withdrawal.organization)
        same("subject", evidence.subject, withdrawal.subject)
        whose = "one data subject of " if evidence.subject else ""
        return Finding(
            "withdrawal",
            True,
            f"{evidence.withdrawal_id}: {evidence.method} of {whose}{evidence.organization}",
        )

    def model(self) -> Finding:
        """The model is in use, has the withdrawal's amendment, and is as on chain."""
        evidence, amendment = self._evidence, self._withdrawal.amendment
        model_id = evidence.model.model_id
        if model_id not in self._reader.models_in_use():
            raise NotAttested(
                f"model {model_id} is not in use any more. Get the newest evidence from "
                "the aggregator."
            )
        same("amendment", evidence.amendment, amendment)
        model = self._reader.model(model_id)
        if model.amendments < amendment:
            raise NotAttested(
                f"model {model_id} misses amendment {amendment} of withdrawal "
                f"{evidence.withdrawal_id}. Wait for its successor."
            )
        same("commitments", evidence.model.commitments, model.commitments)
        same("source", evidence.source_id, self._source)
        chained = self._reader.settings().chained
        same("coupling", evidence.coupling, "federated" if chained else "isolated")
        claimed = [
            (t.round_id, t.organization, t.weight, t.point_hash, t.artifact_id)
            for t in evidence.terms
        ]
        actual = [
            (e.round_id, e.organization, e.weight, e.point_hash, each.parts.artifact_ids[0])
            for e, each in zip(self._content, self._reader.registered(self._content), strict=True)
        ]
        same(f"content of model {model_id}", claimed, actual)
        return Finding("model", True, f"model {model.id} is in use and as on chain")

    def offers(self) -> Finding:
        """The evidence has what was offered on chain, and each organization signed its report."""
        claimed = [
            (o.offer_id, o.round_id, o.organization, o.artifact_id, o.point_hash)
            for o in self._evidence.offered
        ]
        actual = [
            (
                offer.offer_id,
                offer.round_id,
                offer.organization,
                offer.parts.artifact_ids[0],
                offer.parts.point_hashes[0],
            )
            for offer in self._offers
        ]
        same("offered contributions", sorted(claimed), sorted(actual))
        for offered in self._evidence.offered:
            same(
                f"signer of the report of {offered.organization} for round {offered.round_id}",
                self._signer(offered),
                offered.organization,
            )
        return Finding("offers", True, f"{len(claimed)} offered, each report signed by its maker")

    def figures(self) -> Finding:
        """Every report has its required fields, and every guard accepted its delta."""
        for offered in self._evidence.offered:
            missing = missing_figures(self._evidence.method, offered.report)
            if missing:
                raise NotAttested(
                    f"the report of {offered.organization} for round {offered.round_id} is missing "
                    f"the required fields {', '.join(missing)}"
                )
            verdict = offered.report.get("verdict", "ok")
            if verdict != "ok":
                raise NotAttested(
                    f"the guard's verdict on {offered.artifact_id} is {verdict!r}, not 'ok'"
                )
        count = len(self._evidence.offered)
        return Finding(
            "figures", True, f"{count} reports say what they must, by their makers' word"
        )

    def starts(self) -> Finding:
        """Each delta of a replay was trained from the sum of the replay's earlier rounds."""
        if self._evidence.method != "replay":
            return Finding("starts", True, "a counter-training has no rounds to start from")
        missing = 0
        for offered in self._evidence.offered:
            total = self._sum(self._start(offered))
            if total is None:
                missing += 1
                continue
            same(f"start of round {offered.round_id}", offered.report["start"], total)
        count = len(self._evidence.offered)
        if missing:
            return Finding(
                "starts", False, f"earlier contributions of {missing} of {count} are not at hand"
            )
        return Finding("starts", True, f"{count} starts are the sums of the rounds before them")

    def contributions(self) -> Finding:
        """Each offered delta is short, has its owner's tensors and opens its point."""
        parameters, missing = self._parameters, 0
        if parameters is None:
            return Finding("contributions", False, "the agreed parameters are not at hand")
        for offer in self._offers:
            data = self._stores.load(offer.parts.artifact_ids[0])
            if data is None:
                missing += 1
                continue
            try:
                check_contribution(data, offer, parameters)
            except VerificationError as error:
                raise NotAttested(str(error)) from error
        if missing:
            return Finding(
                "contributions", False, f"{missing} of {len(self._offers)} are not at hand"
            )
        return Finding(
            "contributions", True, f"{len(self._offers)} open their points and are short"
        )

    def distances(self) -> Finding:
        """Show how far each offered delta is from the one that it replaces.

        A delta that was hardly changed was hardly trained again, whatever its report says.
        """
        if self._parameters is None:
            return Finding("distances", False, "the agreed parameters are not at hand")
        unit = 2.0**self._parameters.fraction_bits
        shown = []
        for offer in self._offers:
            new, old = self._delta(offer), self._replaced(offer)
            if new is None or (offer.round_id and old is None):
                return Finding("distances", False, "not all offered or replaced deltas are at hand")
            name = f"{offer.organization[:10]} round {offer.round_id}"
            size = l2_norm(new) / unit
            _same_norm(f"norm of {name}", self._offered_part(offer).norm, size)
            if old is None:
                shown.append(f"{name}: L2 {size:.4g}, replaces nothing")
            else:
                shown.append(f"{name}: L2 {_distance(new, old) / unit:.4g} from its old {size:.4g}")
        return Finding("distances", True, "; ".join(shown) or "nothing was offered")

    def change(self) -> Finding:
        """The model's adapter differs from that of its source by the norm in the evidence."""
        claimed, parameters = self._evidence.change_norm, self._parameters
        if claimed is None:
            return Finding("change", True, "the evidence states no size of the change")
        after = self._totals(self._content)
        before = self._totals(self._reader.content(self._evidence.source_id))
        if after is None or before is None or parameters is None:
            # Contributions that were withdrawn may be gone for good, and nothing rests on this.
            return Finding("change", True, f"L2 {claimed:.4g} by the aggregator's word")
        negative = {name: -value for name, value in before.items()}
        total = l2_norm(add_totals([after, negative]))
        size = total / 2.0**parameters.fraction_bits / WEIGHT_ONE
        _same_norm("norm of the change", claimed, size)
        return Finding("change", True, f"the adapter changed by L2 {size:.4g}")

    def adapter(self) -> Finding:
        """The model's files open to its commitment, every owner's part."""
        evidence, parameters = self._evidence, self._parameters
        data = self._stores.load(evidence.model.adapter_id)
        opening = self._stores.load(evidence.model.opening_id)
        if data is None or opening is None or parameters is None:
            return Finding("adapter", False, "adapter, opening or parameters are not at hand")
        record = record_of(self._reader, evidence.model.model_id)
        acceptance = accept_files(record, parameters, data, opening)
        if not acceptance.complete:
            raise NotAttested(acceptance.sentence())
        return Finding("adapter", True, acceptance.sentence())

    @cached_property
    def _withdrawal(self) -> Withdrawal:
        try:
            return find_withdrawal(self._reader, self._evidence.withdrawal_id)
        except VerificationError as error:
            raise NotAttested(str(error)) from error

    @cached_property
    def _source(self) -> int:
        """The last model without the amendment, in the line of the model."""
        number = self._evidence.model.model_id
        while number and self._reader.model(number).amendments >= self._evidence.amendment:
            number = self._reader.model(number).source
        return number

    def _offered_part(self, offer: Contribution) -> OfferedPart:
        place = (offer.offer_id, offer.round_id, offer.organization)
        return next(
            each
            for each in self._evidence.offered
            if (each.offer_id, each.round_id, each.organization) == place
        )

    @cached_property
    def _replay_id(self) -> int:
        return self._reader.replay_of(self._evidence.withdrawal_id)

    @cached_property
    def _offers(self) -> list[Contribution]:
        """Return the offers, the last one where an offer was repeated."""
        wanted = {self._evidence.withdrawal_id, self._replay_id} - {0}
        return list(
            {
                (offer.offer_id, offer.round_id, offer.organization): offer
                for offer in self._reader.offers()
                if offer.offer_id in wanted
            }.values()
        )

    @cached_property
    def _parameters(self) -> ConsortiumParameters | None:
        data = self._stores.load(self._reader.settings().parameters_id)
        return None if data is None else ConsortiumParameters.parse(data)

    @cached_property
    def _content(self) -> list[Entry]:
        return self._reader.content(self._evidence.model.model_id)

    def _signer(self, offered: OfferedPart) -> str:
        evidence = self._evidence
        document = offer_typed_data(
            chain_id=evidence.chain_id,
            rounds_address=self._reader.deployment.rounds,
            offer_id=offered.offer_id,
            round_id=offered.round_id,
            artifact_id=offered.artifact_id,
            size=offered.size,
            report=canonical_json(offered.report),
        )
        try:
            signature = bytes.fromhex(offered.signature.removeprefix("0x"))
            return recover_signer(document, signature)
        except (BadSignature, ValueError) as error:
            raise NotAttested(
                f"the report of {offered.organization} for round {offered.round_id} is not signed: "
                f"{error}"
            ) from error

    def _start(self, offered: OfferedPart) -> list[Entry]:
        """Return what a round of a replay starts from.

        It holds the rounds before, as the replay left them, and the counter-deltas that the model
        had from which the round was trained at first.
        """
        parent = self._reader.round(offered.round_id).parent_model
        counters = {each.point_hash for each in self._reader.content(parent) if not each.round_id}
        own_only = self._reader.settings().chained is False
        return [
            each
            for each in self._content
            if (0 < each.round_id < offered.round_id)
            or (not each.round_id and each.point_hash in counters)
            if not own_only or each.organization == offered.organization
        ]

    def _sum(self, entries: Iterable[Entry]) -> str | None:
        """Return the id of a sum, or None if a contribution is not at hand."""
        wanted = list(entries)
        if not wanted:
            return _BASE_MODEL
        totals = self._totals(wanted)
        return None if totals is None else artifact_id(encode(totals))

    def _totals(self, entries: Sequence[Entry]) -> Totals | None:
        """Return a weighted sum, or None if a contribution is not at hand."""
        terms = [
            Term(entry.round_id, entry.organization, each.parts.artifact_ids[0], entry.weight)
            for entry, each in zip(entries, self._reader.registered(entries), strict=True)
        ]
        if any(self._stores.load(term.artifact_id) is None for term in terms):
            return None
        # One at a time, whatever the number of terms.
        by_id = {term.artifact_id: term.organization for term in terms}
        return adapter_totals(terms, lambda each: self._tensors(each, by_id[each]) or {})

    def _tensors(self, wanted_id: str, organization: str) -> dict[str, NDArray[Any]] | None:
        agreed = self._parameters
        expected = expected_delta(agreed, organization) if agreed is not None else None
        return self._stores.tensors(wanted_id, expected)

    def _delta(self, contribution: Contribution) -> Mapping[str, NDArray[Any]] | None:
        return self._tensors(contribution.parts.artifact_ids[0], contribution.organization)

    def _replaced(self, offer: Contribution) -> Mapping[str, NDArray[Any]] | None:
        """Return the delta of its round that an offer replaces; None for a counter-delta."""
        for revealed in self._reader.contributions(offer.round_id) if offer.round_id else ():
            if revealed.organization == offer.organization:
                return self._delta(revealed)
        return None


def _distance(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> float:
    names = set(one) & set(other)
    return l2_norm({name: one[name].astype(np.int64) - other[name] for name in names})


def _same_norm(what: str, claimed: float, actual: float) -> None:
    # Sums of floating-point numbers may differ in the last digits between machines.
    if not math.isclose(claimed, actual, rel_tol=1e-6):
        raise NotAttested(f"{what}: the evidence has {claimed:.6g}, but it is {actual:.6g}")
