"""Carrying withdrawals out: what is ready, its evidence, its attestations, its sums."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from rescind.aggregator.offers import Offers
from rescind.aggregator.proof import Digests
from rescind.contracts import (
    Claim,
    Consortium,
    DeltaId,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import (
    WEIGHT_ONE,
    ArtifactStore,
    ConsortiumParameters,
    Term,
    adapter_totals,
    add_totals,
    decode,
    encode,
    l2_norm,
)
from rescind.core.errors import RescindError
from rescind.daemon import Journal
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


@dataclass(frozen=True)
class Standing:
    """`ready`: can be carried out in one more model; `unwritten`: evidence is due; `done`: to be
    closed; `holds`: no round may open meanwhile."""

    ready: tuple[int, ...] = ()
    unwritten: tuple[int, ...] = ()
    done: tuple[int, ...] = ()
    holds: bool = False


class Withdrawals:
    """`state`: the daemon's folder, with `evidence/` to be read by auditors and `attestations/` to be
    filled by them."""

    def __init__(
        self,
        consortium: Consortium,
        parameters: ConsortiumParameters,
        journal: Journal,
        store: ArtifactStore,
        digests: Digests,
        offers: Offers,
        state: Path,
    ) -> None:
        self._consortium, self._parameters = consortium, parameters
        self._journal, self._store = journal, store
        self._digests, self._offers = digests, offers
        self._evidence, self._attestations = state / "evidence", state / "attestations"
        self._attestations.mkdir(parents=True, exist_ok=True)
        self._log = structlog.get_logger().bind(organization="aggregator")

    def standing(self, claim: Claim | None, *, round_over: bool) -> Standing:
        """One withdrawal is carried out at a time: one that was begun comes first, then by number."""
        known = self._consortium.withdrawals()
        waiting = [w for w in known if w.state is WithdrawalState.REQUESTED]
        if not waiting:
            return Standing()
        shared = self._parameters.layout == "shared"
        replays = shared and any(w.method is ModelKind.REPLAY for w in waiting)
        if claim is not None:
            return Standing(holds=replays)
        done = [w.id for w in waiting if self._consortium.carried_out(w.id)]
        last = [it.withdrawal_id for it in self._consortium.amendments()][-1:]
        unfinished = [w for w in waiting if w.id in last and w.id not in done]
        todo = unfinished or [w for w in waiting if w.id not in done]
        stages = {w.id: self._stage(w, may_begin=round_over or bool(unfinished)) for w in todo}
        attested = any(s in ("unwritten", "unattested") for s in stages.values())
        return Standing(
            tuple(n for n, stage in stages.items() if stage == "ready"),
            tuple(n for n, stage in stages.items() if stage == "unwritten"),
            tuple(done),
            replays or attested,
        )

    def carry_out(self, withdrawal_id: int) -> None:
        """Sum what the model in place of the next one is to be, publish it, and claim it."""
        it = self._consortium.withdrawals()[withdrawal_id - 1]
        key = _fact_key(it)
        fact = self._journal.get(key, {})
        source = concerned_models(self._consortium, it)[0]
        began = time.monotonic()
        adapter = self._sum(amended_model(self._consortium, it, source).terms)
        fact = {
            "withdrawal": withdrawal_id,
            "organization": it.organization,
            "method": it.method.value,
            "adapter": adapter.artifact_id,
            "began": fact.get("began", time.time()),
            "arithmetic_seconds": time.monotonic() - began,
        }
        self._journal.set(key, fact)
        if it.method not in ATTESTED:
            self._consortium.carry_out(withdrawal_id, source, adapter)
            return
        document = self._written(it, source)
        assert document is not None
        signatures = self._signatures(document)
        self._consortium.carry_out(withdrawal_id, source, adapter, document.sha256, signatures)

    def close(self, withdrawal_id: int) -> None:
        it = self._consortium.withdrawals()[withdrawal_id - 1]
        self._consortium.close_withdrawal(withdrawal_id)
        fact = self._journal.get(_fact_key(it))
        if fact is not None:
            self._journal.set(_fact_key(it), {**fact, "seconds": time.time() - fact["began"]})

    def write_evidence(self, withdrawal_id: int) -> None:
        """Say what is to be attested: of one model, by a file for the auditors."""
        consortium = self._consortium
        it = consortium.withdrawals()[withdrawal_id - 1]
        source = concerned_models(consortium, it)[0]
        amended = amended_model(consortium, it, source)
        document = self._document(it, source, amended)
        data = document.canonical_bytes()
        self._evidence.mkdir(parents=True, exist_ok=True)
        path = self._evidence / f"withdrawal-{it.id}-model-{source}.json"
        temporary = path.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.replace(path)
        self._journal.set(f"published/{self._store.put(data)}", True)
        fact = {"evidence": document.sha256, "terms": _terms_hash(amended), "file": path.name}
        self._journal.set(_evidence_key(it.id, source), fact)
        self._log.info(
            "evidence is written, auditors are to attest it",
            withdrawal=it.id,
            file=str(path),
            attestations=str(self._attestations),
        )

    def _stage(self, it: Withdrawal, *, may_begin: bool) -> str:
        """waiting, unwritten, unattested or ready."""
        if it.method is ModelKind.REMOVAL:
            return "ready"
        concerned = concerned_models(self._consortium, it)
        if not concerned:
            return "waiting"
        amended = amended_model(self._consortium, it, concerned[0])
        complete = not amended.missing and all(self._offers.deposit(o) for o in amended.offered)
        if not complete or (it.method in ATTESTED and not may_begin):
            return "waiting"
        if it.method not in ATTESTED:
            return "ready"
        fact = self._journal.get(_evidence_key(it.id, concerned[0]))
        if fact is None or fact["terms"] != _terms_hash(amended):
            return "unwritten"
        document = self._written(it, concerned[0])
        if document is None:
            return "unwritten"
        quorum = self._consortium.auditor_quorum()
        return "ready" if len(self._signatures(document)) >= quorum else "unattested"

    def _document(self, it: Withdrawal, source: int, amended: AmendedModel) -> EvidenceDocument:
        model = self._consortium.model(source)
        adapter = self._sum(amended.terms)
        change = add_totals(
            [
                self._load(adapter.artifact_id),
                {name: -value for name, value in self._load_adapter(model.adapter_id).items()},
            ]
        )
        return EvidenceDocument(
            chain_id=self._consortium.deployment.chain_id,
            withdrawals=self._consortium.deployment.withdrawals,
            withdrawal_id=it.id,
            method=it.method.value,
            organization=it.organization,
            subject=it.subject,
            coupling=self._parameters.coupling,
            source=SourcePart(
                model_id=source, adapter_id=model.adapter_id, digest_root=model.digest_root
            ),
            adapter_id=adapter.artifact_id,
            digest_root=adapter.digest_root,
            terms=tuple(TermPart.of(term) for term in amended.terms),
            offered=tuple(self._offered(offer) for offer in amended.offered),
            change_norm=l2_norm(change) / self._unit / WEIGHT_ONE,
        )

    def _offered(self, it: Offer) -> OfferedPart:
        deposit = self._offers.deposit(it)
        assert deposit is not None
        return OfferedPart(
            round_id=it.round_id,
            organization=it.organization,
            artifact_id=it.artifact_id,
            digest_root=it.digest_root,
            size=deposit.size,
            report=deposit.report,
            signature=deposit.signature,
            norm=l2_norm(self._load(it.artifact_id)) / self._unit,
        )

    def _written(self, it: Withdrawal, source: int) -> EvidenceDocument | None:
        fact = self._journal.get(_evidence_key(it.id, source))
        if fact is None or not self._store.has(fact["evidence"]):
            return None
        return EvidenceDocument.parse(self._store.get(fact["evidence"]))

    def _signatures(self, document: EvidenceDocument) -> list[bytes]:
        """Those in the folder that auditors made of this evidence, ascending by auditor."""
        found: dict[str, bytes] = {}
        for path in sorted(self._attestations.glob("*.json")):
            try:
                it = Attestation.read(path)
                if it.evidence == document.sha256:
                    found[it.auditor] = it.check(document, self._consortium)
            except (RescindError, OSError) as error:
                self._complain(path, str(error))
        return [found[who] for who in sorted(found, key=str.lower)]

    def _complain(self, path: Path, what: str) -> None:
        key = f"attestation/{path.name}/{hashlib.sha256(what.encode()).hexdigest()[:16]}"
        if not self._journal.get(key, False):
            self._log.warning("attestation not taken", file=str(path), reason=what)
            fact = {
                "organization": "unknown",
                "code": "attestation",
                "what": f"{path.name}: {what}",
                "round": self._consortium.current_round_id(),
                "time": self._consortium.chain.now(),
            }
            self._journal.add("incident/", fact)
            self._journal.set(key, True)

    def _sum(self, terms: tuple[Term, ...]) -> DeltaId:
        """The adapter of these terms, published."""
        artifact = self._store.put(encode(adapter_totals(terms, self._load)))
        self._journal.set(f"published/{artifact}", True)
        return DeltaId(artifact, self._digests.of(artifact).root)

    def _load_adapter(self, adapter_id: str) -> Any:
        return self._load(adapter_id) if int(adapter_id, 16) else {}

    def _load(self, artifact_id: str) -> Any:
        return decode(self._store.get(artifact_id))

    @property
    def _unit(self) -> float:
        return float(2**self._parameters.fraction_bits)


def _fact_key(it: Withdrawal) -> str:
    return f"{it.method.value}/{it.id:06d}"


def _evidence_key(withdrawal_id: int, source: int) -> str:
    return f"evidence/{withdrawal_id:06d}/{source:06d}"


def _terms_hash(amended: AmendedModel) -> str:
    text = "\n".join(f"{t.round_id} {t.artifact_id} {t.weight}" for t in amended.terms)
    return hashlib.sha256(text.encode()).hexdigest()
