"""The certificate: one file that says what was withdrawn, from which models, and how to check it.

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
from rescind.withdrawals import Part, Sha256, TermPart

Method = Literal["removal", "replacement", "replay", "counter-training"]


class CertificateUnreadable(VerificationError):
    code = "certificate-unreadable"


class ConsortiumPart(Part):
    """`block_hash`: of the block in which the last contract was deployed; it names the chain.

    `challenge_seconds` 0: the contract itself adds up every sum; otherwise a sum holds when nobody has
    shown it wrong for so long.
    """

    deployment: Deployment
    block_hash: str
    parameters_id: Sha256
    base_model_id: Sha256
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]
    challenge_seconds: int


class ModelPart(Part):
    model_id: int
    adapter_id: Sha256
    digest_root: Sha256
    terms: tuple[TermPart, ...]


class EquationTerm(Part):
    """coefficient x D(delta)."""

    artifact_id: Sha256
    digest_root: Sha256
    coefficient: int


class ReplacedPart(Part):
    """One model that was in use, and the one in its place: D(after) = D(before) + sum of the terms.

    `proofs`: the transactions in which the contract added the digests up, the last one registering the
    model.
    """

    before: ModelPart
    after: ModelPart
    equation: tuple[EquationTerm, ...]
    claim_transaction: str
    proofs: tuple[str, ...]


class WithdrawalPart(Part):
    """`subject`: a salted commitment to one data subject; empty: everything of the organization.

    `offered`: the deltas that were registered for it, in the order of the chain. `ledger`: None when the
    organization anchored nothing.
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
    """The organization's private ledger as it was last anchored: its records say what was asked for, of
    whom, and each step since. One of them can be shown with an inclusion proof, and nothing else."""

    size: int
    root: Sha256
    anchor_transaction: str


class OfferedPart(Part):
    """A delta that was registered for the withdrawal. Round 0: a counter-delta."""

    round_id: int
    organization: Address
    artifact_id: Sha256
    digest_root: Sha256


class ReplayPart(Part):
    """What a run without the organization gave. `exact`: the same bytes as the model after."""

    adapter_id: Sha256
    exact: bool


class EvaluationPart(Part):
    """The issuer's measurements: scores 0..1 by name, and the SHA-256 of the files they are from."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None] | None
    files: dict[str, Sha256]


class Certificate(Part):
    """`replaced`: every model in use that the withdrawal concerned; none if there was none.

    `latest`: the model that is served after it.
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
        """The organization's deltas that are in a model before and not in the one after, once each."""
        gone: dict[str, Term] = {}
        for pair in self.replaced:
            kept = {t.artifact_id for t in pair.after.terms}
            for part in pair.before.terms:
                if part.artifact_id not in kept and (
                    part.organization == self.withdrawal.organization
                ):
                    gone[part.artifact_id] = part.term()
        return list(gone.values())

    def canonical_bytes(self) -> bytes:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False)
        return f"{text}\n".encode("ascii")

    def document(self) -> dict[str, Any]:
        """The EIP-712 document that the issuer signs."""
        body = hashlib.sha256(self.model_copy(update={"signature": ""}).canonical_bytes()).digest()
        deployment = self.consortium.deployment
        return {
            "domain": domain(deployment.chain_id, deployment.rounds),
            "primaryType": "Certificate",
            "types": {"Certificate": [{"name": "body", "type": "bytes32"}]},
            "message": {"body": body},
        }

    def signer(self) -> str:
        """Raises BadSignature."""
        try:
            raw = bytes.fromhex(self.signature.removeprefix("0x"))
        except ValueError:
            raw = b""
        return recover_signer(self.document(), raw)

    def save(self, path: Path) -> None:
        path.write_bytes(self.canonical_bytes())


def read_certificate(path: Path) -> Certificate:
    """Raises CertificateUnreadable for anything but canonical bytes of a certificate."""
    try:
        data = path.read_bytes()
        certificate = Certificate.model_validate_json(data)
    except OSError as error:
        raise CertificateUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise CertificateUnreadable(f"{path} is no certificate: {where}: {first['msg']}") from error
    if certificate.canonical_bytes() != data:
        raise CertificateUnreadable(f"{path} is not in canonical form: its bytes were changed")
    return certificate


def equation(before: Iterable[Term], after: Iterable[Term]) -> tuple[EquationTerm, ...]:
    """What has to be added to the one model to get the other: a coefficient for each delta."""
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
