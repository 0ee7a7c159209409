"""Withdrawals and replays: moving them on, evidence for auditors, and the auditors' signatures."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import structlog

from rescind.aggregator.attestations import Attestations
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.state import Standing
from rescind.aggregator.withdrawal_facts import EvidenceFact, WithdrawalProgress
from rescind.contracts import Contribution, Replay, Withdrawal, WithdrawalState
from rescind.core import (
    WEIGHT_ONE,
    l2_norm,
    make_private_folder,
    norm_of_change,
    sync_folder,
    write_private,
)
from rescind.core.errors import StoreError
from rescind.wire import ModelFiles, NotPublished
from rescind.withdrawals import (
    EvidenceDocument,
    ModelPart,
    OfferedPart,
    TermPart,
)

_LATE = (WithdrawalState.PREPARING, WithdrawalState.ATTESTING)


class Withdrawals:
    """The open withdrawals of a consortium.

    In the daemon's folder, `evidence/` holds files for auditors to read.

    Args:
        session: The aggregator's session.
        models: The files of models.
        offers: Deltas that organizations submitted for withdrawals and replays.
        attestations: The auditors' signatures.
    """

    def __init__(
        self,
        session: AggregatorSession,
        models: Models,
        offers: Offers,
        attestations: Attestations,
    ) -> None:
        self._session, self._models, self._offers = session, models, offers
        self._attestations = attestations
        self._evidence = session.folder / "evidence"
        self._log = structlog.get_logger().bind(organization="aggregator")

    def standing(self, *, now: int, round_over: bool, stale: bool) -> Standing:
        """Return what can be done for withdrawals and the replay now.

        Args:
            now: Unix seconds, by the chain's clock.
            round_over: Whether no round is under way.
            stale: Whether the head is stale.
        """
        consortium = self._session.consortium
        closed = (WithdrawalState.NONE, WithdrawalState.CLOSED)
        withdrawals = [each for each in consortium.withdrawals() if each.state not in closed]
        if not withdrawals:
            return Standing()
        pending = consortium.replay_is_pending()
        replay = consortium.current_replay() if pending else None
        running = replay is not None and replay.running
        queued = bool(consortium.queued_withdrawals())
        attesting = [w for w in withdrawals if w.state is WithdrawalState.ATTESTING]
        written = {w.id: self._written(w) for w in attesting}
        return Standing(
            late=tuple(w.id for w in withdrawals if w.state in _LATE and 0 < w.deadline < now),
            replayed=tuple(w.id for w in withdrawals if self._is_replayed(w)),
            unwritten=tuple(
                w.id for w in attesting if written[w.id] is None and self._can_write(w)
            ),
            attested=tuple(w.id for w in attesting if self._has_quorum(written[w.id])),
            done=tuple(w.id for w in withdrawals if self._is_done(w)),
            replay_due=queued and not running and round_over and not stale,
            advance_due=replay is not None and running and self._can_advance(replay, now),
            replay_pending=pending,
        )

    def write_evidence(self, withdrawal_id: int) -> None:
        """Write the file that auditors attest, for the head.

        The file and the published copy are on the disk before the journal names them: after a power
        failure a fact never points to a file that is gone.
        """
        session = self._session
        withdrawal = session.consortium.withdrawal(withdrawal_id)
        document = self._document(withdrawal)
        data = document.canonical_bytes()
        make_private_folder(self._evidence)
        sync_folder(self._evidence.parent)
        model = document.model
        path = self._evidence / f"withdrawal-{withdrawal.id}-model-{model.model_id}.json"
        write_private(path, data)
        session.publish(data)
        EvidenceFact(
            document.sha256, withdrawal.amendment, model.model_id, model.commitments, path.name
        ).save(session.journal, withdrawal.id)
        self._log.info(
            "evidence is written, auditors are to attest it",
            withdrawal=withdrawal.id,
            file=str(path),
            attestations=str(self._attestations.folder),
        )

    def attest(self, withdrawal_id: int) -> None:
        """Send the auditors' signatures of a withdrawal's evidence to the chain."""
        consortium = self._session.consortium
        document = self._written(consortium.withdrawal(withdrawal_id))
        if document is None:
            return
        signatures = self._attestations.of_withdrawal(document)
        consortium.attest_withdrawal(
            withdrawal_id, document.model.model_id, document.sha256, signatures
        )

    def close(self, withdrawal_id: int) -> None:
        """Close a withdrawal that is in all models, and record how long it took."""
        session = self._session
        withdrawal = session.consortium.withdrawal(withdrawal_id)
        session.consortium.close_withdrawal(withdrawal_id)
        progress = WithdrawalProgress.load(session.journal, withdrawal)
        if progress is not None:
            seconds = session.consortium.chain.now() - progress.began
            replace(progress, seconds=seconds).save(session.journal)

    def _is_done(self, withdrawal: Withdrawal) -> bool:
        effective = withdrawal.state is WithdrawalState.EFFECTIVE
        return effective and self._session.consortium.is_folded(withdrawal.amendment)

    def _is_replayed(self, withdrawal: Withdrawal) -> bool:
        if withdrawal.state is not WithdrawalState.REPLAYING:
            return False
        consortium = self._session.consortium
        replay_id = consortium.replay_of(withdrawal.id)
        return bool(replay_id and consortium.replay(replay_id).amendment)

    def _can_advance(self, replay: Replay, now: int) -> bool:
        consortium = self._session.consortium
        if now > replay.deadline:
            return True
        offered = {each.organization for each in consortium.replayed(replay.id, replay.round_id)}
        return set(consortium.expected_replayers()) <= offered

    def _can_write(self, withdrawal: Withdrawal) -> bool:
        """Return whether the head has the amendment, with files, and all its deltas came."""
        consortium = self._session.consortium
        head = consortium.latest_model_id()
        if not head or consortium.model(head).amendments < withdrawal.amendment:
            return False
        try:
            self._models.files(head)
        except NotPublished:
            return False
        store = self._session.store
        return all(
            self._offers.deposit(offer) and store.has(offer.parts.artifact_ids[0])
            for offer in self._offered(withdrawal)
        )

    def _offered(self, withdrawal: Withdrawal) -> list[Contribution]:
        """Return what was offered for a withdrawal and for the replay that it joined.

        Of offers that an organization repeated for a round, the last one counts.
        """
        consortium = self._session.consortium
        offers = consortium.offers(withdrawal.id)
        replay_id = consortium.replay_of(withdrawal.id)
        if replay_id:
            offers = [*offers, *consortium.offers(replay_id)]
        last = {(each.offer_id, each.round_id, each.organization): each for each in offers}
        return list(last.values())

    def _document(self, withdrawal: Withdrawal) -> EvidenceDocument:
        session, consortium = self._session, self._session.consortium
        model = consortium.model(consortium.latest_model_id())
        source = model
        while source.id and source.amendments >= withdrawal.amendment:
            source = consortium.model(source.source)
        files = self._models.files(model.id)
        terms = self._models.terms(consortium.content(model.id))
        return EvidenceDocument(
            chain_id=consortium.deployment.chain_id,
            withdrawals=consortium.deployment.withdrawals,
            withdrawal_id=withdrawal.id,
            method=withdrawal.method.value,
            organization=withdrawal.organization,
            subject=withdrawal.subject,
            coupling=session.parameters.coupling,
            amendment=withdrawal.amendment,
            source_id=source.id,
            model=ModelPart(
                model_id=model.id,
                commitments=model.commitments,
                adapter_id=files.adapter_id,
                opening_id=files.opening_id,
            ),
            terms=tuple(TermPart.of(term) for term in terms),
            offered=tuple(self._offered_part(offer) for offer in self._offered(withdrawal)),
            change_norm=self._change_norm(files, source.id),
        )

    def _change_norm(self, files: ModelFiles, source_id: int) -> float | None:
        store = self._session.store
        with ExitStack() as stack:
            after = stack.enter_context(store.open_tensors(files.adapter_id))
            before = None
            if source_id:
                try:
                    source = self._models.files(source_id).adapter_id
                    before = stack.enter_context(store.open_tensors(source))
                except (NotPublished, StoreError):
                    # It was stale before its files were built, or built by an earlier aggregator,
                    # and who is out of it has no reason to hand its contributions over.
                    return None
            return norm_of_change(after, before) / self._unit / WEIGHT_ONE

    def _offered_part(self, offer: Contribution) -> OfferedPart:
        deposit = self._offers.deposit(offer)
        if deposit is None:
            raise NotPublished(f"{offer.organization} has not submitted what it offered yet")
        artifact_id = offer.parts.artifact_ids[0]
        return OfferedPart(
            offer_id=offer.offer_id,
            round_id=offer.round_id,
            organization=offer.organization,
            artifact_id=artifact_id,
            point_hash=offer.parts.point_hashes[0],
            size=deposit.size,
            report=deposit.report,
            signature=deposit.signature,
            norm=l2_norm(self._session.store.load(artifact_id)) / self._unit,
        )

    def _written(self, withdrawal: Withdrawal) -> EvidenceDocument | None:
        """Return a withdrawal's evidence, if it is still about a model of the chain."""
        session = self._session
        fact = EvidenceFact.load(session.journal, withdrawal.id)
        if fact is None or fact.amendment != withdrawal.amendment:
            return None
        known = fact.model_id <= session.consortium.model_count()
        same = known and list(session.consortium.commitments(fact.model_id)) == list(
            fact.commitments
        )
        if not same or not session.store.has(fact.evidence):
            return None
        return EvidenceDocument.parse(session.store.get(fact.evidence))

    def _has_quorum(self, document: EvidenceDocument | None) -> bool:
        if document is None:
            return False
        quorum = self._session.consortium.withdrawal_terms().auditor_quorum
        return len(self._attestations.of_withdrawal(document)) >= quorum

    @property
    def _unit(self) -> float:
        """Integer steps in one unit of a parameter."""
        return float(2**self._session.parameters.fraction_bits)
