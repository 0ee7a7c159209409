"""Checks of what a certificate names beside models: attested evidence and an anchored ledger."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.audit.artifact_cache import ArtifactCache
from rescind.audit.certificate import Certificate
from rescind.audit.checks import to_hex
from rescind.contracts import Event
from rescind.core.errors import VerificationError
from rescind.withdrawals import EvidenceDocument


def check_evidence(certificate: Certificate, cache: ArtifactCache) -> str:
    """Check the attested evidence where it can be reached.

    Returns:
        A clause for the report; empty where the evidence cannot be reached.

    Raises:
        VerificationError: The evidence is for another withdrawal, or for a model that the
            withdrawal did not make.
    """
    withdrawal = certificate.withdrawal
    data = cache.load(withdrawal.evidence)
    if data is None:
        return ""
    document = EvidenceDocument.parse(data)
    if (document.withdrawal_id, document.method) != (withdrawal.withdrawal_id, certificate.method):
        raise VerificationError(
            f"the evidence is for withdrawal {document.withdrawal_id}, a {document.method}; the "
            f"certificate is for withdrawal {withdrawal.withdrawal_id}, a {certificate.method}"
        )
    replaced = {(pair.before.model_id, pair.after.adapter_id) for pair in certificate.replaced}
    if (document.source.model_id, document.adapter_id) not in replaced:
        raise VerificationError("the evidence is for a model that the withdrawal did not make")
    return f"; it is at hand and of this model, {len(document.offered)} reports in it"


def check_ledger(certificate: Certificate, events: Sequence[Event]) -> None:
    """Check that the organization anchored the ledger that the certificate names.

    Raises:
        VerificationError: The transaction did not anchor that size and root.
    """
    ledger, organization = certificate.withdrawal.ledger, certificate.withdrawal.organization
    if ledger is None:
        return
    anchored = [
        (event.args["organization"], event.args["size"], to_hex(event.args["root"]))
        for event in events
        if event.name == "Anchored" and event.tx_hash == ledger.anchor_transaction
    ]
    if anchored != [(organization, ledger.size, ledger.root)]:
        raise VerificationError(
            f"transaction {ledger.anchor_transaction} did not anchor the ledger of {ledger.size} "
            f"records with root {ledger.root} for {organization}"
        )
