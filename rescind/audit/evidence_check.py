"""Check of the evidence that auditors attested for a replay or a counter-training."""

from __future__ import annotations

from rescind.audit.certificate import Certificate
from rescind.audit.checks import Measured, NothingToCheck, Skipped, same
from rescind.audit.issue import attesting
from rescind.audit.subject import Subject
from rescind.contracts import Withdrawal
from rescind.core.errors import VerificationError
from rescind.withdrawals import Attestation, EvidenceDocument


def attested(subject: Subject) -> str:
    """A quorum of auditors attested the evidence; where it is at hand, it is of this withdrawal."""
    certificate, actual = subject.certificate, subject.withdrawal
    if not actual.evidence:
        same("evidence", certificate.withdrawal.evidence, "")
        raise NothingToCheck(f"a {certificate.method} needs no attestation")
    signers = attesting(subject.events, actual.id, actual.evidence)
    quorum = subject.view.withdrawal_terms().auditor_quorum
    if len(signers) < quorum:
        raise VerificationError(
            f"{len(signers)} auditors attested evidence {actual.evidence}; {quorum} must"
        )
    data = subject.stores.load(actual.evidence)
    at_hand = ""
    if data is not None:
        _check_document(certificate, EvidenceDocument.parse(bytes(data)))
        at_hand = "; it is at hand and of this withdrawal"
    return f"evidence {actual.evidence[:16]} attested by {len(signers)} auditors{at_hand}"


def measurements(subject: Subject) -> str:
    """Show what the auditors who attested the evidence measured, by their signed lists."""
    certificate, actual = subject.certificate, subject.withdrawal
    if not actual.evidence:
        same("attestations", len(certificate.attestations), 0)
        raise NothingToCheck(f"a {certificate.method} needs no attestation")
    signers = attesting(subject.events, actual.id, actual.evidence)
    for each in certificate.attestations:
        _check_attestation(each, actual, signers)
    missing = sorted(set(signers) - {each.auditor for each in certificate.attestations})
    lines = [_sentence(each) for each in certificate.attestations]
    if missing:
        lines.append(f"what {', '.join(missing)} measured is not in the file")
    every = [part for each in certificate.attestations for part in each.skipped]
    shown = "; ".join(lines)
    if missing or every:
        raise Skipped(shown)
    raise Measured(shown)


def _check_attestation(
    attestation: Attestation, actual: Withdrawal, signers: tuple[str, ...]
) -> None:
    """Check that an auditor who attested the evidence signed a list of what it measured."""
    same(
        f"evidence of the attestation of {attestation.auditor}",
        attestation.evidence,
        actual.evidence,
    )
    same(
        f"withdrawal of the attestation of {attestation.auditor}",
        attestation.withdrawal_id,
        actual.id,
    )
    if attestation.auditor not in signers:
        raise VerificationError(f"{attestation.auditor} did not attest this evidence on chain")
    attestation.check_statement()


def _sentence(attestation: Attestation) -> str:
    parts = (
        ("measured", attestation.measured),
        ("stated", attestation.stated),
        ("skipped", attestation.skipped),
    )
    listed = "; ".join(
        f"{status} {', '.join(each.check for each in made)}" for status, made in parts if made
    )
    return f"{attestation.auditor} {listed or 'lists nothing'}"


def _check_document(certificate: Certificate, document: EvidenceDocument) -> None:
    withdrawal = certificate.withdrawal
    claimed = document.withdrawal_id, document.method, document.organization, document.subject
    actual = (
        withdrawal.withdrawal_id,
        certificate.method,
        withdrawal.organization,
        withdrawal.subject,
    )
    if claimed != actual:
        raise VerificationError(
            f"the evidence is for withdrawal {document.withdrawal_id}, a {document.method}; the "
            f"certificate is for withdrawal {withdrawal.withdrawal_id}, a {certificate.method}"
        )
    offered = {point for each in withdrawal.offered for point in each.point_hashes}
    if not {each.point_hash for each in document.offered} <= offered:
        raise VerificationError("the evidence names contributions that were not offered for it")
