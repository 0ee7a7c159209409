"""Build a certificate from what the chain holds about one withdrawal."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.audit.certificate import (
    Certificate,
    ConsortiumPart,
    EvaluationPart,
    LedgerPart,
    ModelPart,
    OfferedPart,
    ReplacedPart,
    ReplayPart,
    WithdrawalPart,
    equation,
)
from rescind.audit.checks import deployment_block_hash, to_hex
from rescind.contracts import (
    Account,
    Consortium,
    Event,
    ModelKind,
    WithdrawalState,
)
from rescind.core.errors import VerificationError
from rescind.wire import sign_typed
from rescind.withdrawals import TermPart


def build_certificate(
    consortium: Consortium,
    withdrawal_id: int,
    *,
    issuer: Account,
    replay: ReplayPart | None = None,
    evaluation: EvaluationPart | None = None,
) -> Certificate:
    """Build and sign the certificate of a closed withdrawal.

    Everything but `replay` and `evaluation` is read from the chain.

    Args:
        consortium: The chain.
        withdrawal_id: Number of the withdrawal.
        issuer: The aggregator's account, which signs.
        replay: The result of a run without the organization.
        evaluation: The issuer's measurements.

    Raises:
        VerificationError: There is no such withdrawal, or it is not closed.
    """
    withdrawal_of = {w.id: w for w in consortium.withdrawals()}
    if withdrawal_id not in withdrawal_of:
        raise VerificationError(
            f"there is no withdrawal {withdrawal_id}: they are numbered from 1 to "
            f"{len(withdrawal_of)}"
        )
    withdrawal = withdrawal_of[withdrawal_id]
    if withdrawal.state is not WithdrawalState.CLOSED:
        raise VerificationError(
            f"withdrawal {withdrawal_id} is {withdrawal.state.value}, not closed. Wait for it to "
            "close before issuing its certificate."
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
            offered=offered_for(consortium, withdrawal_id),
            ledger=last_anchor(events, withdrawal.organization),
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


def withdrawal_event(events: Sequence[Event], name: str, withdrawal_id: int) -> Event:
    """Return the first event of a name about a withdrawal.

    Raises:
        VerificationError: There is none.
    """
    for event in events:
        if event.name == name and event.args.get("id") == withdrawal_id:
            return event
    raise VerificationError(f"there is no {name} of withdrawal {withdrawal_id} on chain")


def attesting(events: Sequence[Event], withdrawal_id: int, evidence: str) -> tuple[str, ...]:
    """Return the auditors who attested the evidence, in ascending order of address."""
    auditors = {
        str(e.args["auditor"])
        for e in events
        if e.name == "Attested"
        and e.args["id"] == withdrawal_id
        and to_hex(e.args["evidence"]) == evidence
    }
    return tuple(sorted(auditors, key=str.lower))


def offered_for(consortium: Consortium, withdrawal_id: int) -> tuple[OfferedPart, ...]:
    """Return the deltas registered for a withdrawal, in the order of the chain."""
    return tuple(
        OfferedPart(
            round_id=offer.round_id,
            organization=offer.organization,
            artifact_id=offer.artifact_id,
            digest_root=offer.digest_root,
        )
        for offer in consortium.offers()
        if offer.withdrawal_id == withdrawal_id
    )


def last_anchor(events: Sequence[Event], organization: str) -> LedgerPart | None:
    """Return the newest anchor of an organization's ledger, or None."""
    anchors = [e for e in events if e.name == "Anchored" and e.args["organization"] == organization]
    if not anchors:
        return None
    size, root = int(str(anchors[-1].args["size"])), to_hex(anchors[-1].args["root"])
    return LedgerPart(size=size, root=root, anchor_transaction=anchors[-1].tx_hash)


def aggregator_at(events: Sequence[Event], block: int) -> str:
    """Return the address of the aggregator at a block.

    Raises:
        VerificationError: There was none.
    """
    changes = [e for e in events if e.name == "AggregatorChanged" and e.block <= block]
    if not changes:
        raise VerificationError(f"there was no aggregator at block {block}")
    return str(changes[-1].args["aggregator"])


def model_part(consortium: Consortium, model_id: int) -> ModelPart:
    """Return a model and its content, as on chain."""
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
    """Return every model that a withdrawal replaced, with its replacement."""
    numbers = [
        number
        for number, amendment in enumerate(consortium.amendments(), start=1)
        if amendment.withdrawal_id == withdrawal_id
    ]
    replaced = []
    for model_id in range(1, consortium.model_count() + 1):
        model = consortium.model(model_id)
        if model.kind is ModelKind.ROUND or model.amendments not in numbers:
            continue
        before, after = model_part(consortium, model.parent), model_part(consortium, model_id)
        claim, proofs = _transactions(events, model_id, model.adapter_id)
        replaced.append(
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
    return tuple(replaced)


def _transactions(
    events: Sequence[Event], model_id: int, adapter_id: str
) -> tuple[str, tuple[str, ...]]:
    """The claim that became the model, and the sums that were added up since."""
    registered = next(
        index
        for index, e in enumerate(events)
        if e.name == "ModelRegistered" and e.args["model"] == model_id
    )
    claim, proofs = "", list[str]()
    for event in events[: registered + 1]:
        if event.name == "ModelClaimed" and to_hex(event.args["adapterId"]) == adapter_id:
            claim, proofs = event.tx_hash, []
        elif event.name in ("SumCarried", "ModelProven", "ModelSettled") and (
            to_hex(event.args["adapterId"]) == adapter_id
        ):
            proofs.append(event.tx_hash)
    return claim, tuple(dict.fromkeys(proofs))
