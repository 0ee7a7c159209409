"""The certificate: one file that says what was withdrawn, from which models, and how to check it.

Its bytes are canonical (sorted keys, two spaces, one newline at the end), so a change of any byte
shows. The issuer, the consortium's aggregator, signs EIP-712 Certificate(bytes32 body), where body
is the SHA-256 of the canonical bytes without the signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from web3.exceptions import BlockNotFound

from adapters import Term
from adapters.errors import VerificationError
from contracts import Account, Address, Consortium, Deployment, Event, ModelKind, WithdrawalState
from protocol import domain, recover_signer, sign_typed

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Root = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Method = Literal["removal", "replacement", "replay", "counter-training"]


class CertificateUnreadable(VerificationError):
    code = "certificate-unreadable"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConsortiumPart(_Part):
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


class TermPart(_Part):
    """One delta in a model. `digest_root`: Merkle root of its linear digest. Round 0: a counter-delta."""

    round_id: int
    organization: Address
    artifact_id: Sha256
    digest_root: Root
    weight: int

    @classmethod
    def of(cls, term: Term) -> TermPart:
        return cls(
            round_id=term.round_id,
            organization=term.organization,
            artifact_id=term.artifact_id,
            digest_root=term.digest_root,
            weight=term.weight,
        )

    def term(self) -> Term:
        return Term(
            self.round_id, self.organization, self.artifact_id, self.weight, self.digest_root
        )


class ModelPart(_Part):
    model_id: int
    adapter_id: Sha256
    digest_root: Root
    terms: tuple[TermPart, ...]


class EquationTerm(_Part):
    """coefficient x D(delta)."""

    artifact_id: Sha256
    digest_root: Root
    coefficient: int


class ReplacedPart(_Part):
    """One model that was in use, and the one in its place: D(after) = D(before) + sum of the terms.

    `proofs`: the transactions in which the contract added the digests up, the last one registering the
    model.
    """

    before: ModelPart
    after: ModelPart
    equation: tuple[EquationTerm, ...]
    claim_transaction: str
    proofs: tuple[str, ...]


class WithdrawalPart(_Part):
    """`subject`: a salted commitment to one data subject; empty: everything of the organization."""

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
    """`replaced`: every model in use that the withdrawal concerned; none if there was none.

    `latest`: the model that is served after it.
    """

    format: Literal["rescind.certificate/2"] = "rescind.certificate/2"
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
    known = {w.id: w for w in consortium.withdrawals()}
    if withdrawal_id not in known:
        raise VerificationError(f"there is no withdrawal {withdrawal_id}")
    withdrawal = known[withdrawal_id]
    if withdrawal.state is not WithdrawalState.CLOSED:
        raise VerificationError(
            f"withdrawal {withdrawal_id} is {withdrawal.state.value}, not closed"
        )
    events = list(consortium.events())
    requested = withdrawal_event(events, "WithdrawalRequested", withdrawal_id)
    closed = withdrawal_event(events, "WithdrawalClosed", withdrawal_id)
    draft = Certificate(
        consortium=ConsortiumPart(
            deployment=consortium.deployment,
            block_hash=deployment_block_hash(consortium),
            parameters_id=consortium.parameters_id(),
            base_model_id=consortium.base_model_id(),
            coupling=consortium.coupling(),
            layout=consortium.layout(),
            challenge_seconds=consortium.challenge_seconds(),
        ),
        withdrawal=WithdrawalPart(
            withdrawal_id=withdrawal_id,
            organization=withdrawal.organization,
            name=consortium.member(withdrawal.organization).name,
            subject=withdrawal.subject,
            expelled=withdrawal.expelled,
            request_transaction=requested.tx_hash,
            close_transaction=closed.tx_hash,
            close_block=closed.block,
            evidence=withdrawal.evidence,
            auditors=attesting(events, withdrawal_id, withdrawal.evidence),
        ),
        method=withdrawal.method.value,
        replaced=replaced_models(consortium, events, withdrawal_id),
        latest=model_part(consortium, withdrawal.closed_model),
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


def withdrawal_event(events: Sequence[Event], name: str, withdrawal_id: int) -> Event:
    """Raises VerificationError when there is none."""
    for event in events:
        if event.name == name and event.args.get("id") == withdrawal_id:
            return event
    raise VerificationError(f"there is no {name} of withdrawal {withdrawal_id} on chain")


def attesting(events: Sequence[Event], withdrawal_id: int, evidence: str) -> tuple[str, ...]:
    """The auditors who attested the evidence, ascending."""
    found = {
        str(e.args["auditor"])
        for e in events
        if e.name == "Attested"
        and e.args["id"] == withdrawal_id
        and _hex(e.args["evidence"]) == evidence
    }
    return tuple(sorted(found, key=str.lower))


def aggregator_at(events: Sequence[Event], block: int) -> str:
    """Who the aggregator was at a block."""
    changes = [e for e in events if e.name == "AggregatorChanged" and e.block <= block]
    if not changes:
        raise VerificationError(f"there was no aggregator at block {block}")
    return str(changes[-1].args["aggregator"])


def model_part(consortium: Consortium, model_id: int) -> ModelPart:
    model = consortium.model(model_id)
    return ModelPart(
        model_id=model_id,
        adapter_id=model.adapter_id,
        digest_root=model.digest_root,
        terms=tuple(TermPart.of(term) for term in consortium.content(model_id)),
    )


def replaced_models(
    consortium: Consortium, events: Sequence[Event], withdrawal_id: int
) -> tuple[ReplacedPart, ...]:
    """Every model that the withdrawal replaced, and by what, in the order of the chain."""
    numbers = [
        number
        for number, it in enumerate(consortium.amendments(), start=1)
        if it.withdrawal_id == withdrawal_id
    ]
    found = []
    for model_id in range(1, consortium.model_count() + 1):
        model = consortium.model(model_id)
        if model.kind is ModelKind.ROUND or model.amendments not in numbers:
            continue
        before, after = model_part(consortium, model.parent), model_part(consortium, model_id)
        claim, proofs = _transactions(events, model_id, model.adapter_id)
        found.append(
            ReplacedPart(
                before=before,
                after=after,
                equation=equation(
                    (t.term() for t in before.terms), (t.term() for t in after.terms)
                ),
                claim_transaction=claim,
                proofs=proofs,
            )
        )
    return tuple(found)


def _transactions(
    events: Sequence[Event], model_id: int, adapter_id: str
) -> tuple[str, tuple[str, ...]]:
    """Of the claim that became the model, and of the sums that were added up since."""
    registered = next(
        place
        for place, e in enumerate(events)
        if e.name == "ModelRegistered" and e.args["model"] == model_id
    )
    claim, proofs = "", list[str]()
    for event in events[: registered + 1]:
        if event.name == "ModelClaimed" and _hex(event.args["adapterId"]) == adapter_id:
            claim, proofs = event.tx_hash, []
        elif event.name in ("SumCarried", "ModelProven", "ModelSettled") and (
            _hex(event.args["adapterId"]) == adapter_id
        ):
            proofs.append(event.tx_hash)
    return claim, tuple(dict.fromkeys(proofs))


def _hex(value: Any) -> str:
    return bytes(value).hex()
