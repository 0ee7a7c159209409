"""The certificate: one file that says what was removed, from which models, and how to check it.

Its bytes are canonical (sorted keys, two spaces, one newline at the end), so a change of any byte
shows. The issuer, the consortium's aggregator, signs EIP-712 Certificate(bytes32 body), where body
is the SHA-256 of the canonical bytes without the signature.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from web3.exceptions import BlockNotFound

from adapters import Term
from adapters.errors import VerificationError
from contracts import Account, Address, Consortium, Deployment, WithdrawalState
from protocol import domain, recover_signer, sign_typed

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class CertificateUnreadable(VerificationError):
    code = "certificate-unreadable"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConsortiumPart(_Part):
    """`block_hash`: of the block in which the last contract was deployed; it names the chain."""

    deployment: Deployment
    block_hash: str
    parameters_id: Sha256
    base_model_id: Sha256
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]


class TermPart(_Part):
    round_id: int
    organization: Address
    artifact_id: Sha256
    weight: int

    @classmethod
    def of(cls, term: Term) -> TermPart:
        return cls(
            round_id=term.round_id,
            organization=term.organization,
            artifact_id=term.artifact_id,
            weight=term.weight,
        )

    def term(self) -> Term:
        return Term(self.round_id, self.organization, self.artifact_id, self.weight)


class ModelPart(_Part):
    model_id: int
    adapter_id: Sha256
    terms: tuple[TermPart, ...]


class WithdrawalPart(_Part):
    withdrawal_id: int
    organization: Address
    name: str
    request_transaction: str
    close_transaction: str
    close_block: int


class ReplayPart(_Part):
    """What a run without the organization gave. `exact`: the same bytes as the model after."""

    adapter_id: Sha256
    exact: bool


class EvaluationPart(_Part):
    """The issuer's measurements: scores 0..1 by name, and the SHA-256 of the files they are from."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None] | None
    files: dict[str, Sha256]


class Certificate(_Part):
    format: Literal["rescind.certificate/1"] = "rescind.certificate/1"
    consortium: ConsortiumPart
    withdrawal: WithdrawalPart
    method: Literal["removal"] = "removal"
    before: ModelPart
    after: ModelPart
    removed: tuple[TermPart, ...]
    replay: ReplayPart | None
    evaluation: EvaluationPart | None
    issued_at: int
    issuer: Address
    signature: str = ""

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


def build_certificate(
    consortium: Consortium,
    withdrawal_id: int,
    *,
    issuer: Account,
    replay: ReplayPart | None = None,
    evaluation: EvaluationPart | None = None,
) -> Certificate:
    """Everything but replay and evaluation is read from the chain. Raises VerificationError unless
    the withdrawal is closed."""
    withdrawal = consortium.withdrawals()[withdrawal_id - 1]
    if withdrawal.state is not WithdrawalState.CLOSED:
        raise VerificationError(
            f"withdrawal {withdrawal_id} is {withdrawal.state.value}, not closed"
        )
    requested, closed = _transactions(consortium, withdrawal_id)
    after = consortium.model(withdrawal.closed_model)
    before_terms = consortium.content(after.parent)
    leaver = withdrawal.organization
    draft = Certificate(
        consortium=ConsortiumPart(
            deployment=consortium.deployment,
            block_hash=deployment_block_hash(consortium),
            parameters_id=consortium.parameters_id(),
            base_model_id=consortium.base_model_id(),
            coupling=consortium.coupling(),
            layout=consortium.layout(),
        ),
        withdrawal=WithdrawalPart(
            withdrawal_id=withdrawal_id,
            organization=leaver,
            name=consortium.member(leaver).name,
            request_transaction=requested,
            close_transaction=closed,
            close_block=after.block,
        ),
        before=_model(consortium, after.parent),
        after=_model(consortium, after.id),
        removed=tuple(TermPart.of(t) for t in before_terms if t.organization == leaver),
        replay=replay,
        evaluation=evaluation,
        issued_at=consortium.chain.now(),
        issuer=issuer.address,
    )
    signature = sign_typed(draft.document(), issuer.key)
    return draft.model_copy(update={"signature": "0x" + signature.hex()})


def deployment_block_hash(consortium: Consortium) -> str:
    """Raises VerificationError when the chain has no such block."""
    number = consortium.deployment.block
    try:
        block = consortium.chain.ask(lambda: consortium.chain.web3.eth.get_block(number))
    except BlockNotFound as error:
        raise VerificationError(f"the chain has no block {number}") from error
    return "0x" + bytes(block["hash"]).hex()


def _model(consortium: Consortium, model_id: int) -> ModelPart:
    return ModelPart(
        model_id=model_id,
        adapter_id=consortium.model(model_id).adapter_id,
        terms=tuple(TermPart.of(term) for term in consortium.content(model_id)),
    )


def _transactions(consortium: Consortium, withdrawal_id: int) -> tuple[str, str]:
    found = {
        event.name: event.tx_hash
        for event in consortium.events()
        if event.contract == "Withdrawals" and event.args.get("id") == withdrawal_id
    }
    return found["WithdrawalRequested"], found["WithdrawalClosed"]
