"""An auditor's checks of the evidence of a replay or a counter-training."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.audit.case import Case
from rescind.audit.contribution import check_contribution
from rescind.audit.findings import Finding, NotAttested, same
from rescind.audit.forgotten import Measure, forgetting
from rescind.audit.retrained import change, distances, repetitions
from rescind.audit.stores import Stores
from rescind.contracts import ConsortiumReader, WithdrawalState
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import VerificationError
from rescind.wire import BadSignature, offer_typed_data, recover_signer
from rescind.withdrawals import (
    EvidenceDocument,
    OfferedPart,
    Repetition,
    accept_files,
    missing_figures,
    record_of,
)


class Examiner:
    """The checks of one piece of evidence.

    Each check returns a finding or raises NotAttested.

    Args:
        reader: The chain.
        evidence: The evidence.
        stores: The artifacts at hand.
        reports: Organizations' reports of rounds that they repeated.
        measure: Measures the model on the withdrawn texts; None if they are not at hand.
    """

    def __init__(
        self,
        reader: ConsortiumReader,
        evidence: EvidenceDocument,
        stores: Stores,
        reports: Sequence[Repetition] = (),
        measure: Measure | None = None,
    ) -> None:
        self._reader, self._evidence, self._stores = reader, evidence, stores
        self._reports, self._measure = reports, measure
        self._case = Case(reader, evidence, stores)

    def findings(self) -> list[Finding]:
        """Make every check, in order.

        Raises:
            NotAttested: The first check that failed.
        """
        findings = [self.withdrawal(), self.model(), self.offers(), self.figures()]
        if self._evidence.method == "replay":
            findings.append(self.starts())
        findings.append(self.contributions())
        if self._evidence.method == "replay":
            repeated = repetitions(self._case, self._reports)
            findings += [*repeated.findings, distances(self._case, repeated.exact)]
        else:
            findings += [distances(self._case), *forgetting(self._case, self._measure)]
        return [*findings, change(self._case), self.adapter()]

    def withdrawal(self) -> Finding:
        """The withdrawal on chain is the one in the evidence, and waits for auditors."""
        evidence, deployment = self._evidence, self._reader.deployment
        same("chain", evidence.chain_id, deployment.chain_id)
        same("contract", evidence.withdrawals, deployment.withdrawals)
        withdrawal = self._case.withdrawal
        same("state", WithdrawalState.ATTESTING.value, withdrawal.state.value)
        same("method", evidence.method, withdrawal.method.value)
        same("organization", evidence.organization, withdrawal.organization)
        same("subject", evidence.subject, withdrawal.subject)
        scope = "one data subject of " if evidence.subject else ""
        return Finding(
            "withdrawal",
            "measured",
            f"{evidence.withdrawal_id}: {evidence.method} of {scope}{evidence.organization}",
        )

    def model(self) -> Finding:
        """The model is in use, has the withdrawal's amendment, and is as on chain."""
        evidence, amendment = self._evidence, self._case.withdrawal.amendment
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
        same("source", evidence.source_id, self._case.source)
        chained = self._reader.settings().chained
        same("coupling", evidence.coupling, "federated" if chained else "isolated")
        claimed = [
            (t.round_id, t.organization, t.weight, t.point_hash, t.artifact_id)
            for t in evidence.terms
        ]
        actual = [
            (e.round_id, e.organization, e.weight, e.point_hash, each.parts.artifact_ids[0])
            for e, each in zip(
                self._case.content, self._reader.registered(self._case.content), strict=True
            )
        ]
        same(f"content of model {model_id}", claimed, actual)
        return Finding("model", "measured", f"model {model.id} is in use and as on chain")

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
            for offer in self._case.offers
        ]
        same("offered contributions", sorted(claimed), sorted(actual))
        for offered in self._evidence.offered:
            same(
                f"signer of the report of {offered.organization} for round {offered.round_id}",
                self._signer(offered),
                offered.organization,
            )
        return Finding(
            "offers", "measured", f"{len(claimed)} offered, each report signed by its maker"
        )

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
            "figures",
            "stated",
            f"{count} reports say what they must, by their makers' word",
            needed=False,
        )

    def starts(self) -> Finding:
        """Each delta of a replay was trained from the sum of the replay's earlier rounds."""
        missing = 0
        for offered in self._evidence.offered:
            total = self._case.sum_id(self._case.start(self._case.content, offered))
            if total is None:
                missing += 1
                continue
            same(f"start of round {offered.round_id}", offered.report["start"], total)
        count = len(self._evidence.offered)
        if missing:
            return Finding(
                "starts",
                "skipped",
                f"earlier contributions of {missing} of {count} are not at hand",
            )
        return Finding(
            "starts", "measured", f"{count} starts are the sums of the rounds before them"
        )

    def contributions(self) -> Finding:
        """Each offered delta is short, has its owner's tensors and opens its point."""
        parameters, missing = self._case.parameters, 0
        if parameters is None:
            return Finding("contributions", "skipped", "the agreed parameters are not at hand")
        for offer in self._case.offers:
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
                "contributions", "skipped", f"{missing} of {len(self._case.offers)} are not at hand"
            )
        return Finding(
            "contributions", "measured", f"{len(self._case.offers)} open their points and are short"
        )

    def adapter(self) -> Finding:
        """The model's files open to its commitment, every owner's part."""
        evidence, parameters = self._evidence, self._case.parameters
        data = self._stores.load(evidence.model.adapter_id)
        opening = self._stores.load(evidence.model.opening_id)
        if data is None or opening is None or parameters is None:
            return Finding("adapter", "skipped", "adapter, opening or parameters are not at hand")
        record = record_of(self._reader, evidence.model.model_id)
        acceptance = accept_files(record, parameters, data, opening)
        if not acceptance.complete:
            raise NotAttested(acceptance.sentence())
        return Finding("adapter", "measured", acceptance.sentence())

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
