"""What an auditor checks before signing evidence: everything in it that the chain, and the artifacts
at hand, can speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.contracts import (
    Account,
    Consortium,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import (
    Term,
    adapter_totals,
    artifact_id,
    decode,
    digest,
    encode,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import VerificationError
from rescind.wire import offer_typed_data, recover_signer
from rescind.withdrawals import (
    AmendedModel,
    Attestation,
    EvidenceDocument,
    OfferedPart,
    amended_model,
    concerned_models,
    missing_figures,
    replay_start,
)


class NotAttested(VerificationError):
    """Something in the evidence does not hold; nothing is signed."""

    code = "not-attested"


@dataclass(frozen=True)
class Finding:
    """`made` False: it could not be checked with what was at hand."""

    name: str
    made: bool
    detail: str


def attest(
    consortium: Consortium,
    evidence: EvidenceDocument,
    auditor: Account,
    *,
    artifacts: Sequence[Path] = (),
    adapter: Path | None = None,
) -> tuple[Attestation, list[Finding]]:
    """Check everything, then sign. `artifacts`: folders of artifacts; `adapter`: the file of the new
    model. Raises NotAttested."""
    findings = examine(consortium, evidence, artifacts=artifacts, adapter=adapter)
    if auditor.address not in consortium.auditors():
        raise NotAttested(f"{auditor.address} is not an auditor of this consortium")
    made = Attestation.sign(evidence, auditor)
    made.check(evidence, consortium)
    return made, findings


def examine(
    consortium: Consortium,
    evidence: EvidenceDocument,
    *,
    artifacts: Sequence[Path] = (),
    adapter: Path | None = None,
) -> list[Finding]:
    """Raises NotAttested with the first thing that does not hold."""
    it = _Examiner(consortium, evidence, [p for p in artifacts if p.is_dir()], adapter)
    checks = (
        it.withdrawal,
        it.source,
        it.terms,
        it.offers,
        it.figures,
        it.starts,
        it.arithmetic,
        it.adapter,
    )
    return [check() for check in checks]


class _Examiner:
    def __init__(
        self,
        consortium: Consortium,
        evidence: EvidenceDocument,
        stores: Sequence[Path],
        adapter: Path | None,
    ) -> None:
        self._consortium, self._it = consortium, evidence
        self._stores, self._adapter = stores, adapter

    def withdrawal(self) -> Finding:
        it, deployment = self._it, self._consortium.deployment
        _same("chain", it.chain_id, deployment.chain_id)
        _same("contract", it.withdrawals, deployment.withdrawals)
        found = self._withdrawal()
        _same("state", WithdrawalState.REQUESTED.value, found.state.value)
        _same("method", it.method, found.method.value)
        _same("organization", it.organization, found.organization)
        _same("subject", it.subject, found.subject)
        _same("coupling", it.coupling, self._consortium.coupling())
        whose = "one data subject of " if it.subject else ""
        return Finding(
            "withdrawal", True, f"{it.withdrawal_id}: {it.method} of {whose}{it.organization}"
        )

    def source(self) -> Finding:
        it = self._it
        if it.source.model_id not in concerned_models(self._consortium, self._withdrawal()):
            raise NotAttested(
                f"model {it.source.model_id} is not one that withdrawal {it.withdrawal_id} has yet "
                "to replace: the evidence is out of date"
            )
        model = self._consortium.model(it.source.model_id)
        _same("source's adapter", it.source.adapter_id, model.adapter_id)
        _same("source's digest", it.source.digest_root, model.digest_root)
        return Finding("source", True, f"model {model.id} is in use and as on chain")

    def terms(self) -> Finding:
        amended = self._amended()
        claimed = [
            (t.round_id, t.organization, t.artifact_id, t.weight, t.digest_root)
            for t in self._it.terms
        ]
        found = [
            (t.round_id, t.organization, t.artifact_id, t.weight, t.digest_root)
            for t in amended.terms
        ]
        _same("what the new model is made of", claimed, found)
        if amended.missing:
            who = {t.organization for t in amended.missing}
            raise NotAttested(f"deltas of {', '.join(sorted(who))} were not made again")
        return Finding("terms", True, f"{len(found)} deltas, as the chain has them")

    def offers(self) -> Finding:
        amended = self._amended()
        claimed = [(o.round_id, o.organization, o.artifact_id) for o in self._it.offered]
        _same(
            "deltas that were registered for it",
            claimed,
            [(o.round_id, o.organization, o.artifact_id) for o in amended.offered],
        )
        for it in self._it.offered:
            _same(f"signer of the report of round {it.round_id}", it.organization, self._signer(it))
        return Finding("offers", True, f"{len(claimed)} deltas, each report signed by its maker")

    def figures(self) -> Finding:
        for it in self._it.offered:
            lacking = missing_figures(self._it.method, it.report)
            if lacking:
                raise NotAttested(
                    f"the report of {it.organization} for round {it.round_id} does not say "
                    f"{', '.join(lacking)}"
                )
            verdict = it.report.get("verdict", "ok")
            if verdict != "ok":
                raise NotAttested(f"the guard's verdict on {it.artifact_id} is {verdict!r}, not ok")
        return Finding("figures", True, f"{len(self._it.offered)} reports say what they must")

    def starts(self) -> Finding:
        """A replay's deltas were trained from what the replay had come to."""
        if self._it.method != "replay":
            return Finding("starts", False, "a counter-training has no rounds to start from")
        amended, checked = self._amended(), 0
        for it in self._it.offered:
            parent = self._consortium.round(it.round_id).parent_model
            terms = replay_start(amended, self._consortium.content(parent), it.round_id) or []
            if self._it.coupling == "isolated":
                terms = [t for t in terms if t.organization == it.organization]
            found = self._sum(terms)
            if found is not None:
                _same(f"start of round {it.round_id}", it.report["start"], found)
                checked += 1
        if checked < len(self._it.offered):
            return Finding("starts", False, "the deltas before are not all at hand")
        return Finding("starts", True, f"{checked} starts are the sums of the deltas before them")

    def arithmetic(self) -> Finding:
        found = self._sum([_term(t) for t in self._it.terms])
        if found is None:
            return Finding("arithmetic", False, "the deltas are not all at hand")
        _same("sum of the deltas", self._it.adapter_id, found)
        return Finding("arithmetic", True, "the deltas come to the new adapter, byte for byte")

    def adapter(self) -> Finding:
        data = self._load(self._it.adapter_id)
        if self._adapter is not None:
            try:
                data = self._adapter.read_bytes()
            except OSError as error:
                raise NotAttested(f"{self._adapter} cannot be read: {error.strerror}") from error
        if data is None:
            return Finding("adapter", False, "the new adapter is not at hand")
        _same("new adapter", self._it.adapter_id, artifact_id(data))
        _same("its digest", self._it.digest_root, digest(decode(data)).root)
        return Finding("adapter", True, "has the id and the digest that the evidence names")

    def _withdrawal(self) -> Withdrawal:
        known = {w.id: w for w in self._consortium.withdrawals()}
        if self._it.withdrawal_id not in known:
            raise NotAttested(f"there is no withdrawal {self._it.withdrawal_id} on chain")
        return known[self._it.withdrawal_id]

    def _amended(self) -> AmendedModel:
        return amended_model(self._consortium, self._withdrawal(), self._it.source.model_id)

    def _signer(self, it: OfferedPart) -> str:
        document = offer_typed_data(
            chain_id=self._it.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            withdrawal_id=self._it.withdrawal_id,
            round_id=it.round_id,
            artifact_id=it.artifact_id,
            size=it.size,
            report=canonical_json(it.report),
        )
        return recover_signer(document, bytes.fromhex(it.signature.removeprefix("0x")))

    def _sum(self, terms: Sequence[Term]) -> str | None:
        """Id of what they come to; None when one is not at hand."""
        if any(self._load(t.artifact_id) is None for t in terms):
            return None
        if not terms:
            return "00" * 32
        return artifact_id(encode(adapter_totals(terms, self._delta)))

    def _delta(self, wanted: str) -> Any:
        data = self._load(wanted)
        assert data is not None
        return decode(data)

    def _load(self, wanted: str) -> bytes | None:
        for store in self._stores:
            path = store / wanted[:2] / wanted
            if path.is_file():
                data = path.read_bytes()
                if artifact_id(data) != wanted:
                    raise NotAttested(f"{path} does not hash to its name: it was changed")
                return data
        return None


def _term(part: Any) -> Term:
    return Term(part.round_id, part.organization, part.artifact_id, part.weight, part.digest_root)


def _same(what: str, claimed: object, found: object) -> None:
    if claimed != found:
        raise NotAttested(f"{what}: the evidence has {claimed}, it is {found}")
