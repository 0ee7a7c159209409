"""What a certificate names beside models: the evidence that auditors attested, an anchored ledger."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.audit.artifact_cache import ArtifactCache
from rescind.audit.certificate import Certificate
from rescind.contracts import Event
from rescind.core.errors import VerificationError
from rescind.withdrawals import EvidenceDocument


def check_evidence(it: Certificate, held: ArtifactCache) -> str:
    """What to say of the evidence where it can be reached; nothing where it cannot.

    Raises VerificationError unless it is of this withdrawal and of a model that it made.
    """
    data = held.load(it.withdrawal.evidence)
    if data is None:
        return ""
    document = EvidenceDocument.parse(data)
    if (document.withdrawal_id, document.method) != (it.withdrawal.withdrawal_id, it.method):
        raise VerificationError(
            f"the evidence is of withdrawal {document.withdrawal_id}, a {document.method}"
        )
    made = {(pair.before.model_id, pair.after.adapter_id) for pair in it.replaced}
    if (document.source.model_id, document.adapter_id) not in made:
        raise VerificationError("the evidence is of a model that the withdrawal did not make")
    return f"; it is at hand and of this model, {len(document.offered)} reports in it"


def check_ledger(it: Certificate, events: Sequence[Event]) -> None:
    """Raises VerificationError unless the ledger that is named was anchored so."""
    claimed, who = it.withdrawal.ledger, it.withdrawal.organization
    if claimed is None:
        return
    anchored = [
        (e.args["organization"], e.args["size"], _hex(e.args["root"]))
        for e in events
        if e.name == "Anchored" and e.tx_hash == claimed.anchor_transaction
    ]
    if anchored != [(who, claimed.size, claimed.root)]:
        raise VerificationError(
            f"ledger of {claimed.size} records: {claimed.anchor_transaction} did not anchor it"
        )


def _hex(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
