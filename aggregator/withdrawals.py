"""Carrying out of withdrawals: their order, evidence, attestations and sums."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import structlog

from rescind.aggregator.facts import AttestationComplaint, EvidenceFact, WithdrawalProgress
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import (
    NO_ADAPTER,
    Claim,
    DeltaId,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import (
    WEIGHT_ONE,
    Term,
    adapter_totals,
    add_totals,
    encode,
    l2_norm,
    sync_folder,
    write_atomically,
)
from rescind.core.errors import RescindError
from rescind.withdrawals import (
    AmendedModel,
    Attestation,
    EvidenceDocument,
    OfferedPart,
    SourcePart,
    TermPart,
    amended_model,
    concerned_models,
)

ATTESTED = (ModelKind.REPLAY, ModelKind.COUNTER_TRAINING)
"""Methods that a sum on chain does not prove, so that auditors have to attest them."""


class _Stage(Enum):
    """How far a withdrawal has come in the model that it concerns next."""

    WAITING = "waiting"
    """Deltas are missing, or a round is in progress."""
    UNWRITTEN = "unwritten"
    """The evidence for auditors is not written yet, or is out of date."""
    UNATTESTED = "unattested"
    """Too few auditors have attested the evidence."""
    READY = "ready"


@dataclass(frozen=True)
class Standing:
    """The withdrawals that the aggregator can advance now.

    Attributes:
        ready: Those that can be carried out in one more model.
        unwritten: Those whose evidence is due.
        done: Those that are carried out in all models and can be closed.
        holds: Whether no round may open meanwhile.
    """

    ready: tuple[int, ...] = ()
    unwritten: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    holds: bool = False


class Withdrawals:
    """The open withdrawals of a consortium.

    In the daemon's folder, `evidence/` holds files for auditors to read, and `attestations/` takes
    the files that they write.

    Args:
        session: The aggregator's session.
        offers: Deltas that organizations submitted for withdrawals.
    """

    def __init__(self, session: AggregatorSession, offers: Offers) -> None:
        self._session, self._offers = session, offers
        self._evidence = session.folder / "evidence"
        self._attestations = session.folder / "attestations"
        self._attestations.mkdir(parents=True, exist_ok=True)
        self._log = structlog.get_logger().bind(organization="aggregator")

    def standing(self, claim: Claim | None, *, round_over: bool) -> Standing:
        """Return the withdrawals that can be advanced now.

        They are carried out one at a time: one that was begun comes first, then by number.

        Args:
            claim: The claim that is on chain now.
            round_over: Whether no round is in progress.
        """
        consortium = self._session.consortium
        requested = [w for w in consortium.withdrawals() if w.state is WithdrawalState.REQUESTED]
        if not requested:
            return Standing()
        shared = self._session.parameters.layout == "shared"
        replays = shared and any(w.method is ModelKind.REPLAY for w in requested)
        if claim is not None:
            return Standing(holds=replays)
        done = [w.id for w in requested if consortium.carried_out(w.id)]
        last = [amendment.withdrawal_id for amendment in consortium.amendments()][-1:]
        unfinished = [w for w in requested if w.id in last and w.id not in done]
        todo = unfinished or [w for w in requested if w.id not in done]
        stages = {w.id: self._stage(w, may_begin=round_over or bool(unfinished)) for w in todo}
        attesting = any(s in (_Stage.UNWRITTEN, _Stage.UNATTESTED) for s in stages.values())
        return Standing(
            tuple(number for number, stage in stages.items() if stage is _Stage.READY),
            tuple(number for number, stage in stages.items() if stage is _Stage.UNWRITTEN),
            tuple(done),
            replays or attesting,
        )

    def carry_out(self, withdrawal_id: int) -> None:
        """Compute and publish the model that replaces the next one, and claim it on chain."""
        session = self._session
        withdrawal = self._withdrawal(withdrawal_id)
        progress = WithdrawalProgress.load(session.journal, withdrawal)
        source = concerned_models(session.consortium, withdrawal)[0]
        started = time.monotonic()
        adapter = self._sum(amended_model(session.consortium, withdrawal, source).terms)
        WithdrawalProgress(
            withdrawal=withdrawal_id,
            organization=withdrawal.organization,
            method=withdrawal.method.value,
            adapter=adapter.artifact_id,
            began=time.time() if progress is None else progress.began,
            arithmetic_seconds=time.monotonic() - started,
        ).save(session.journal)
        if withdrawal.method not in ATTESTED:
            session.consortium.carry_out(withdrawal_id, source, adapter)
            return
        document = self._written(withdrawal, source)
        assert document is not None
        signatures = self._signatures(document)
        session.consortium.carry_out(withdrawal_id, source, adapter, document.sha256, signatures)

    def close(self, withdrawal_id: int) -> None:
        """Close a withdrawal that is carried out in all models, and record how long it took."""
        session = self._session
        session.consortium.close_withdrawal(withdrawal_id)
        progress = WithdrawalProgress.load(session.journal, self._withdrawal(withdrawal_id))
        if progress is not None:
            replace(progress, seconds=time.time() - progress.began).save(session.journal)

    def write_evidence(self, withdrawal_id: int) -> None:
        """Write the file that auditors attest, for the model that a withdrawal concerns next.

        The file and the published copy are on the disk before the journal names them: after a power
        failure a fact never points to a file that is gone.
        """
        session = self._session
        withdrawal = self._withdrawal(withdrawal_id)
        source = concerned_models(session.consortium, withdrawal)[0]
        amended = amended_model(session.consortium, withdrawal, source)
        document = self._document(withdrawal, source, amended)
        data = document.canonical_bytes()
        self._evidence.mkdir(parents=True, exist_ok=True)
        sync_folder(self._evidence.parent)
        path = self._evidence / f"withdrawal-{withdrawal.id}-model-{source}.json"
        write_atomically(path, data)
        session.publish(data)
        fact = EvidenceFact(document.sha256, _terms_hash(amended), path.name)
        fact.save(session.journal, withdrawal.id, source)
        self._log.info(
            "evidence is written, auditors are to attest it",
            withdrawal=withdrawal.id,
            file=str(path),
            attestations=str(self._attestations),
        )

    def _withdrawal(self, withdrawal_id: int) -> Withdrawal:
        return self._session.consortium.withdrawals()[withdrawal_id - 1]

    def _stage(self, withdrawal: Withdrawal, *, may_begin: bool) -> _Stage:
        consortium = self._session.consortium
        if withdrawal.method is ModelKind.REMOVAL:
            return _Stage.READY
        concerned = concerned_models(consortium, withdrawal)
        if not concerned:
            return _Stage.WAITING
        amended = amended_model(consortium, withdrawal, concerned[0])
        complete = not amended.missing and all(self._offers.deposit(o) for o in amended.offered)
        if not complete or (withdrawal.method in ATTESTED and not may_begin):
            return _Stage.WAITING
        if withdrawal.method not in ATTESTED:
            return _Stage.READY
        fact = EvidenceFact.load(self._session.journal, withdrawal.id, concerned[0])
        if fact is None or fact.terms != _terms_hash(amended):
            return _Stage.UNWRITTEN
        document = self._written(withdrawal, concerned[0])
        if document is None:
            return _Stage.UNWRITTEN
        attested = len(self._signatures(document)) >= consortium.auditor_quorum()
        return _Stage.READY if attested else _Stage.UNATTESTED

    def _document(
        self, withdrawal: Withdrawal, source: int, amended: AmendedModel
    ) -> EvidenceDocument:
        session, store = self._session, self._session.store
        model = session.consortium.model(source)
        adapter = self._sum(amended.terms)
        before = store.load(model.adapter_id) if model.adapter_id != NO_ADAPTER else {}
        change = add_totals(
            [store.load(adapter.artifact_id), {name: -value for name, value in before.items()}]
        )
        return EvidenceDocument(
            chain_id=session.consortium.deployment.chain_id,
            withdrawals=session.consortium.deployment.withdrawals,
            withdrawal_id=withdrawal.id,
            method=withdrawal.method.value,
            organization=withdrawal.organization,
            subject=withdrawal.subject,
            coupling=session.parameters.coupling,
            source=SourcePart(
                model_id=source, adapter_id=model.adapter_id, digest_root=model.digest_root
            ),
            adapter_id=adapter.artifact_id,
            digest_root=adapter.digest_root,
            terms=tuple(TermPart.of(term) for term in amended.terms),
            offered=tuple(self._offered(offer) for offer in amended.offered),
            change_norm=l2_norm(change) / self._unit / WEIGHT_ONE,
        )

    def _offered(self, offer: Offer) -> OfferedPart:
        deposit = self._offers.deposit(offer)
        assert deposit is not None
        return OfferedPart(
            round_id=offer.round_id,
            organization=offer.organization,
            artifact_id=offer.artifact_id,
            digest_root=offer.digest_root,
            size=deposit.size,
            report=deposit.report,
            signature=deposit.signature,
            norm=l2_norm(self._session.store.load(offer.artifact_id)) / self._unit,
        )

    def _written(self, withdrawal: Withdrawal, source: int) -> EvidenceDocument | None:
        fact = EvidenceFact.load(self._session.journal, withdrawal.id, source)
        if fact is None or not self._session.store.has(fact.evidence):
            return None
        return EvidenceDocument.parse(self._session.store.get(fact.evidence))

    def _signatures(self, document: EvidenceDocument) -> list[bytes]:
        """Return the auditors' signatures of this evidence, by ascending auditor, as contracts ask."""
        signatures: dict[str, bytes] = {}
        for path in sorted(self._attestations.glob("*.json")):
            try:
                attestation = Attestation.read(path)
                if attestation.evidence == document.sha256:
                    signature = attestation.check(document, self._session.consortium)
                    signatures[attestation.auditor] = signature
            except (RescindError, OSError) as error:
                self._complain(path, str(error))
        return [signatures[auditor] for auditor in sorted(signatures, key=str.lower)]

    def _complain(self, path: Path, reason: str) -> None:
        """Log and record that an attestation is refused, once for each reason."""
        complaint = AttestationComplaint(path.name, reason)
        if complaint.holds(self._session.journal):
            return
        self._log.warning("attestation refused", file=str(path), reason=reason)
        self._session.record_incident("unknown", "attestation", f"{path.name}: {reason}")
        complaint.save(self._session.journal)

    def _sum(self, terms: tuple[Term, ...]) -> DeltaId:
        """Publish the adapter of these terms."""
        session = self._session
        return session.named(session.publish(encode(adapter_totals(terms, session.store.load))))

    @property
    def _unit(self) -> float:
        """Integer steps in one unit of a parameter."""
        return float(2**self._session.parameters.fraction_bits)


def _terms_hash(amended: AmendedModel) -> str:
    text = "\n".join(f"{t.round_id} {t.artifact_id} {t.weight}" for t in amended.terms)
    return hashlib.sha256(text.encode()).hexdigest()
