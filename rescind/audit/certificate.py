"""The certificate: a file that states what was withdrawn from which models, and how to check it.

Its bytes are canonical (sorted keys, two spaces, one newline at the end), so a change of any byte
shows. The issuer, the consortium's aggregator, signs EIP-712 Certificate(bytes32 body), where body
is the SHA-256 of the canonical bytes without the signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from rescind.contracts import Address, Deployment
from rescind.core import Term
from rescind.core.errors import VerificationError
from rescind.wire import domain, recover_signer
from rescind.withdrawals import Part, Sha256, TermPart, first_problem

Method = Literal["removal", "replacement", "replay", "counter-training"]


class CertificateUnreadable(VerificationError):
    """The file cannot be read, or does not hold the canonical bytes of a certificate."""

    code = "certificate-unreadable"


class ConsortiumPart(Part):
    """The consortium and what it agreed on.

    Attributes:
        block_hash: Hash of the block in which the last contract was deployed; it names the chain.
        challenge_seconds: 0 if the contract itself adds up every sum; otherwise a sum holds when
            it has not been shown wrong for so many seconds.
    """

    deployment: Deployment
    block_hash: str
    parameters_id: Sha256
    base_model_id: Sha256
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]
    challenge_seconds: int


class ModelPart(Part):
    """A model and its content."""

    model_id: int
    adapter_id: Sha256
    digest_root: Sha256
    terms: tuple[TermPart, ...]


class EquationTerm(Part):
    """One term of an equation: coefficient x D(delta)."""

    artifact_id: Sha256
    digest_root: Sha256
    coefficient: int


class ReplacedPart(Part):
    """A model that was in use and its replacement: D(after) = D(before) + sum of the terms.

    Attributes:
        proofs: The transactions in which the contract added the digests up; the last one
            registered the model.
    """

    before: ModelPart
    after: ModelPart
    equation: tuple[EquationTerm, ...]
    claim_transaction: str
    proofs: tuple[str, ...]


class WithdrawalPart(Part):
    """The withdrawal.

    Attributes:
        subject: A salted commitment to one data subject; empty for the whole organization.
        offered: The deltas that were registered for it, in the order of the chain.
        ledger: The organization's ledger; None if it never anchored one.
    """

    withdrawal_id: int
    organization: Address
    name: str
    subject: str
    expelled: bool
    request_transaction: str
    close_transaction: str
    close_block: int
    evidence: str
    auditors: tuple[Address, ...]
    offered: tuple[OfferedPart, ...]
    ledger: LedgerPart | None


class LedgerPart(Part):
    """The organization's private ledger as it was last anchored.

    Its records hold the request, the data subject and each later step. The organization can show
    one of them with an inclusion proof, without showing any other.
    """

    size: int
    root: Sha256
    anchor_transaction: str


class OfferedPart(Part):
    """A delta that was registered for the withdrawal; round 0 is a counter-delta."""

    round_id: int
    organization: Address
    artifact_id: Sha256
    digest_root: Sha256


class ReplayPart(Part):
    """The result of a run without the organization.

    Attributes:
        exact: Whether the run gave the same bytes as the model after.
    """

    adapter_id: Sha256
    exact: bool


class EvaluationPart(Part):
    """The issuer's measurements: scores from 0 to 1 by name, and the SHA-256 of their files."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None] | None
    files: dict[str, Sha256]


class Certificate(Part):
    """The certificate of one closed withdrawal.

    Attributes:
        replaced: Every model in use that the withdrawal concerned; may be empty.
        latest: The model that is served after the withdrawal.
        issued_at: Unix seconds on the chain's clock.
        issuer: Address of the aggregator that signed.
    """

    format: Literal["rescind.certificate/3"] = "rescind.certificate/3"
    consortium: ConsortiumPart
    withdrawal: WithdrawalPart
    method: Method
    replaced: tuple[ReplacedPart, ...]
    latest: ModelPart
    replay: ReplayPart | None
    evaluation: EvaluationPart | None
    issued_at: int
    issuer: Address
    signature: str = ""

    @property
    def removed(self) -> list[Term]:
        """The organization's deltas that are in a model before but not in its replacement."""
        removed: dict[str, Term] = {}
        for pair in self.replaced:
            kept = {t.artifact_id for t in pair.after.terms}
            for part in pair.before.terms:
                if part.artifact_id not in kept and (
                    part.organization == self.withdrawal.organization
                ):
                    removed[part.artifact_id] = part.term()
        return list(removed.values())

    def canonical_bytes(self) -> bytes:
        """Return the bytes of the file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False)
        return f"{text}\n".encode("ascii")

    def document(self) -> dict[str, Any]:
        """Return the EIP-712 document that the issuer signs."""
        body = hashlib.sha256(self.model_copy(update={"signature": ""}).canonical_bytes()).digest()
        deployment = self.consortium.deployment
        return {
            "domain": domain(deployment.chain_id, deployment.rounds),
            "primaryType": "Certificate",
            "types": {"Certificate": [{"name": "body", "type": "bytes32"}]},
            "message": {"body": body},
        }

    def signer(self) -> str:
        """Return the address that signed.

        Raises:
            BadSignature: The signature is malformed.
        """
        try:
            raw = bytes.fromhex(self.signature.removeprefix("0x"))
        except ValueError:
            raw = b""
        return recover_signer(self.document(), raw)

    def save(self, path: Path) -> None:
        """Write the certificate to a file."""
        path.write_bytes(self.canonical_bytes())


def read_certificate(path: Path) -> Certificate:
    """Return the certificate in a file.

    Raises:
        CertificateUnreadable: The file cannot be read, or does not hold the canonical bytes of a
            certificate.
    """
    try:
        data = path.read_bytes()
        certificate = Certificate.model_validate_json(data)
    except OSError as error:
        raise CertificateUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise CertificateUnreadable(
            f"{path} is not a valid certificate: {first_problem(error)}"
        ) from error
    if certificate.canonical_bytes() != data:
        raise CertificateUnreadable(
            f"{path} is not in canonical form: its bytes were changed. Ask for the file again."
        )
    return certificate


def equation(before: Iterable[Term], after: Iterable[Term]) -> tuple[EquationTerm, ...]:
    """Return the terms to add to one model to get another.

    Args:
        before: Content of the one model.
        after: Content of the other.

    Returns:
        A coefficient for each delta whose weight differs, sorted by artifact.
    """
    change: dict[tuple[str, str], int] = {}
    for terms, sign in ((before, -1), (after, 1)):
        for term in terms:
            key = (term.artifact_id, term.digest_root)
            change[key] = change.get(key, 0) + sign * term.weight
    return tuple(
        EquationTerm(artifact_id=artifact, digest_root=root, coefficient=coefficient)
        for (artifact, root), coefficient in sorted(change.items())
        if coefficient
    )
