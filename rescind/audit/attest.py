"""Making of attestations: check evidence against the chain and the artifacts, then sign it."""

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
    """The evidence contradicts the chain or the artifacts, so it is not signed."""

    code = "not-attested"


@dataclass(frozen=True)
class Finding:
    """The result of one check that did not fail.

    Attributes:
        name: Name of the check.
        made: Whether it was made; False if what it needs was not available.
        detail: What was found, or what was not available.
    """

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
    """Check evidence completely, then sign it.

    Args:
        consortium: The chain to compare with.
        evidence: The evidence.
        auditor: The auditor's account.
        artifacts: Folders of artifacts; missing folders are ignored.
        adapter: The file of the new model's adapter.

    Returns:
        The attestation, and the findings of the checks.

    Raises:
        NotAttested: A check failed, or the account is not an auditor's.
    """
    findings = examine(consortium, evidence, artifacts=artifacts, adapter=adapter)
    if auditor.address not in consortium.auditors():
        raise NotAttested(
            f"{auditor.address} is not an auditor of this consortium. Sign with an auditor's key."
        )
    attestation = Attestation.sign(evidence, auditor)
    attestation.check(evidence, consortium)
    return attestation, findings


def examine(
    consortium: Consortium,
    evidence: EvidenceDocument,
    *,
    artifacts: Sequence[Path] = (),
    adapter: Path | None = None,
) -> list[Finding]:
    """Check evidence without signing it; for the arguments see `attest`.

    Raises:
        NotAttested: The first check that failed.
    """
    stores = [folder for folder in artifacts if folder.is_dir()]
    examiner = _Examiner(consortium, evidence, stores, adapter)
    checks = (
        examiner.withdrawal,
        examiner.source,
        examiner.terms,
        examiner.offers,
        examiner.figures,
        examiner.starts,
        examiner.arithmetic,
        examiner.adapter,
    )
    return [check() for check in checks]


class _Examiner:
    """One method for each check; each returns a finding or raises NotAttested."""

    def __init__(
        self,
        consortium: Consortium,
        evidence: EvidenceDocument,
        stores: Sequence[Path],
        adapter: Path | None,
    ) -> None:
        self._consortium, self._evidence = consortium, evidence
        self._stores, self._adapter = stores, adapter

    def withdrawal(self) -> Finding:
        """The withdrawal on chain is the one in the evidence, and is still open."""
        evidence, deployment = self._evidence, self._consortium.deployment
        _same("chain", evidence.chain_id, deployment.chain_id)
        _same("contract", evidence.withdrawals, deployment.withdrawals)
        withdrawal = self._withdrawal()
        _same("state", WithdrawalState.REQUESTED.value, withdrawal.state.value)
        _same("method", evidence.method, withdrawal.method.value)
        _same("organization", evidence.organization, withdrawal.organization)
        _same("subject", evidence.subject, withdrawal.subject)
        _same("coupling", evidence.coupling, self._consortium.coupling())
        whose = "one data subject of " if evidence.subject else ""
        return Finding(
            "withdrawal",
            True,
            f"{evidence.withdrawal_id}: {evidence.method} of {whose}{evidence.organization}",
        )

    def source(self) -> Finding:
        """The replaced model is in use, and has the adapter and the digest in the evidence."""
        source = self._evidence.source
        if source.model_id not in concerned_models(self._consortium, self._withdrawal()):
            raise NotAttested(
                f"model {source.model_id} is not one that withdrawal "
                f"{self._evidence.withdrawal_id} has yet to replace: the evidence is out of date. "
                "Get the newest evidence from the aggregator."
            )
        model = self._consortium.model(source.model_id)
        _same("source's adapter", source.adapter_id, model.adapter_id)
        _same("source's digest", source.digest_root, model.digest_root)
        return Finding("source", True, f"model {model.id} is in use and as on chain")

    def terms(self) -> Finding:
        """The new model's content follows from the chain, and no delta is missing."""
        amended = self._amended()
        claimed = [
            (t.round_id, t.organization, t.artifact_id, t.weight, t.digest_root)
            for t in self._evidence.terms
        ]
        derived = [
            (t.round_id, t.organization, t.artifact_id, t.weight, t.digest_root)
            for t in amended.terms
        ]
        _same("content of the new model", claimed, derived)
        if amended.missing:
            organizations = sorted({t.organization for t in amended.missing})
            raise NotAttested(
                f"deltas of {', '.join(organizations)} were not trained again yet, so the replay "
                "is incomplete. Wait for their offers and get new evidence."
            )
        return Finding("terms", True, f"{len(derived)} deltas, as the chain has them")

    def offers(self) -> Finding:
        """The registered deltas are those on chain, and each organization signed its report."""
        amended = self._amended()
        claimed = [(o.round_id, o.organization, o.artifact_id) for o in self._evidence.offered]
        _same(
            "deltas registered for the withdrawal",
            claimed,
            [(o.round_id, o.organization, o.artifact_id) for o in amended.offered],
        )
        for offered in self._evidence.offered:
            _same(
                f"signer of the report of round {offered.round_id}",
                offered.organization,
                self._signer(offered),
            )
        return Finding("offers", True, f"{len(claimed)} deltas, each report signed by its maker")

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
        return Finding("figures", True, f"{len(self._evidence.offered)} reports say what they must")

    def starts(self) -> Finding:
        """Each delta of a replay was trained from the sum of the replay's earlier deltas."""
        if self._evidence.method != "replay":
            return Finding("starts", False, "a counter-training has no rounds to start from")
        amended, checked = self._amended(), 0
        for offered in self._evidence.offered:
            parent = self._consortium.round(offered.round_id).parent_model
            content = self._consortium.content(parent)
            terms = replay_start(amended, content, offered.round_id) or []
            if self._evidence.coupling == "isolated":
                terms = [t for t in terms if t.organization == offered.organization]
            total = self._sum(terms)
            if total is not None:
                _same(f"start of round {offered.round_id}", offered.report["start"], total)
                checked += 1
        if checked < len(self._evidence.offered):
            return Finding("starts", False, "not all earlier deltas are available")
        return Finding("starts", True, f"{checked} starts are the sums of the deltas before them")

    def arithmetic(self) -> Finding:
        """The deltas sum to the new adapter."""
        total = self._sum([part.term() for part in self._evidence.terms])
        if total is None:
            return Finding("arithmetic", False, "not all deltas are available")
        _same("sum of the deltas", self._evidence.adapter_id, total)
        return Finding("arithmetic", True, "the deltas come to the new adapter, byte for byte")

    def adapter(self) -> Finding:
        """The new adapter's bytes have the id and the digest in the evidence."""
        data = self._load(self._evidence.adapter_id)
        if self._adapter is not None:
            try:
                data = self._adapter.read_bytes()
            except OSError as error:
                raise NotAttested(f"{self._adapter} cannot be read: {error.strerror}") from error
        if data is None:
            return Finding("adapter", False, "the new adapter is not available")
        _same("id of the new adapter", self._evidence.adapter_id, artifact_id(data))
        root = digest(decode(data)).root
        _same("digest of the new adapter", self._evidence.digest_root, root)
        return Finding("adapter", True, "has the id and the digest that the evidence names")

    def _withdrawal(self) -> Withdrawal:
        number = self._evidence.withdrawal_id
        for withdrawal in self._consortium.withdrawals():
            if withdrawal.id == number:
                return withdrawal
        raise NotAttested(f"there is no withdrawal {number} on chain")

    def _amended(self) -> AmendedModel:
        source = self._evidence.source.model_id
        return amended_model(self._consortium, self._withdrawal(), source)

    def _signer(self, offered: OfferedPart) -> str:
        document = offer_typed_data(
            chain_id=self._evidence.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            withdrawal_id=self._evidence.withdrawal_id,
            round_id=offered.round_id,
            artifact_id=offered.artifact_id,
            size=offered.size,
            report=canonical_json(offered.report),
        )
        return recover_signer(document, bytes.fromhex(offered.signature.removeprefix("0x")))

    def _sum(self, terms: Sequence[Term]) -> str | None:
        """Id of the sum; None when a delta is not available. The empty sum has no artifact."""
        if any(self._load(t.artifact_id) is None for t in terms):
            return None
        if not terms:
            return "00" * 32
        return artifact_id(encode(adapter_totals(terms, self._delta)))

    def _delta(self, delta_id: str) -> Any:
        data = self._load(delta_id)
        assert data is not None
        return decode(data)

    def _load(self, wanted_id: str) -> bytes | None:
        for store in self._stores:
            path = store / wanted_id[:2] / wanted_id
            if path.is_file():
                data = path.read_bytes()
                if artifact_id(data) != wanted_id:
                    raise NotAttested(
                        f"{path} was changed: its bytes do not hash to its name. Fetch the "
                        "artifact again."
                    )
                return data
        return None


def _same(what: str, claimed: object, actual: object) -> None:
    if claimed != actual:
        raise NotAttested(f"{what}: the evidence has {claimed}, but it is {actual}")
