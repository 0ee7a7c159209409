"""Auditors' signatures: files that auditors write, and the transactions that take a quorum of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import structlog

from rescind.aggregator.incidents import AGGREGATOR
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.withdrawal_facts import AttestationComplaint
from rescind.contracts import RoundState
from rescind.core import make_private_folder
from rescind.core.errors import RescindError
from rescind.withdrawals import (
    Attestation,
    EvidenceDocument,
    RoundAttestation,
    read_attestation,
    round_evidence,
)


class Attestations:
    """The folder `attestations/` of the daemon's state, into which auditors put their files.

    A file that does not hold an auditor's signature of what it says is an incident, and counts for
    nothing.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session
        self.folder = session.folder / "attestations"
        make_private_folder(self.folder)
        self._parsed: dict[tuple[Path, int], Attestation | RoundAttestation] = {}
        self._log = structlog.get_logger().bind(organization="aggregator")

    def of_withdrawal(self, document: EvidenceDocument) -> list[bytes]:
        """Return the signatures of a withdrawal's evidence, by ascending auditor, as contracts ask."""
        signatures: dict[str, bytes] = {}
        for path, attestation in self._files():
            if not isinstance(attestation, Attestation) or attestation.evidence != document.sha256:
                continue
            try:
                signature = attestation.check(document, self._session.consortium)
            except RescindError as error:
                self._complain(path, str(error))
            else:
                signatures[attestation.auditor] = signature
        return _ordered(signatures)

    def of_round(self, round_id: int) -> list[bytes]:
        """Return the signatures of a final round, by ascending auditor, as contracts ask."""
        files = [
            (path, attestation)
            for path, attestation in self._files()
            if isinstance(attestation, RoundAttestation) and attestation.round_id == round_id
        ]
        if not files:
            return []
        evidence = round_evidence(self._session.consortium, round_id)
        signatures: dict[str, bytes] = {}
        for path, attestation in files:
            try:
                signature = attestation.check(evidence, self._session.consortium)
            except RescindError as error:
                self._complain(path, str(error))
            else:
                signatures[attestation.auditor] = signature
        return _ordered(signatures)

    def due_round(self) -> int:
        """Return the next round that a quorum of auditors has signed; 0 if there is none.

        The contract takes rounds in their order, so a round waits for those before it.
        """
        consortium = self._session.consortium
        for round_id in range(consortium.attested_up_to() + 1, consortium.current_round_id() + 1):
            state = consortium.round(round_id).state
            if state is RoundState.ABANDONED:
                continue
            final = state is RoundState.FINAL
            signed = final and len(self.of_round(round_id)) >= consortium.round_quorum()
            return round_id if signed else 0
        return 0

    def attest_round(self, round_id: int) -> None:
        """Send the auditors' signatures of a round to the chain."""
        consortium = self._session.consortium
        evidence = round_evidence(consortium, round_id)
        consortium.attest_round(round_id, evidence, self.of_round(round_id))

    def _files(self) -> Iterator[tuple[Path, Attestation | RoundAttestation]]:
        """Yield the files that can be read; a file is read again only when it has changed."""
        parsed: dict[tuple[Path, int], Attestation | RoundAttestation] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                key = (path, path.stat().st_mtime_ns)
                parsed[key] = self._parsed[key] if key in self._parsed else read_attestation(path)
            except (RescindError, OSError) as error:
                self._complain(path, str(error))
        self._parsed = parsed
        yield from ((path, each) for (path, _), each in parsed.items())

    def _complain(self, path: Path, reason: str) -> None:
        """Log and record that an attestation is refused, once for each reason."""
        complaint = AttestationComplaint(path.name, reason)
        if complaint.holds(self._session.journal):
            return
        self._log.warning("attestation refused", file=str(path), reason=reason)
        self._session.record_incident(
            AGGREGATOR, "attestation", f"{path.name}: {reason}", at_will=False
        )
        complaint.save(self._session.journal)


def _ordered(signatures: dict[str, bytes]) -> list[bytes]:
    return [signatures[auditor] for auditor in sorted(signatures, key=str.lower)]
