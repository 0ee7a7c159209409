"""Build a certificate from what the chain holds about one withdrawal. Anyone can."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rescind.audit.certificate import (
    Certificate,
    ConsortiumPart,
    EntryPart,
    EvaluationPart,
    HeadPart,
    LedgerPart,
    ModelPart,
    OfferedPart,
    PublicationPart,
    ReplacedPart,
    ReplayPart,
    WithdrawalPart,
)
from rescind.audit.checks import deployment_block_hash, to_hex
from rescind.contracts import (
    ConsortiumReader,
    Contribution,
    Event,
    Publication,
    Withdrawal,
    WithdrawalState,
)
from rescind.core.errors import VerificationError
from rescind.wire import BadSignature
from rescind.withdrawals import Attestation

_AMENDING = ("WithdrawalEffective", "WithdrawalConverted", "WithdrawalReplayed")


def build_certificate(
    reader: ConsortiumReader,
    withdrawal_id: int,
    *,
    attestations: Iterable[Attestation] = (),
    heads: Iterable[HeadPart] = (),
    replay: ReplayPart | None = None,
    evaluation: EvaluationPart | None = None,
) -> Certificate:
    """Build the certificate of a closed withdrawal.

    Everything but `attestations`, `heads`, `replay` and `evaluation` is read from the chain.

    Args:
        reader: The chain.
        withdrawal_id: Number of the withdrawal.
        attestations: Auditors' attestations. Those of other evidence, those that the chain does not
            count and those whose list was changed are left out.
        heads: The heads of the latest model (rescind.audit.heads).
        replay: The result of a run without the organization.
        evaluation: Your measurements.

    Raises:
        VerificationError: There is no such withdrawal, or it is not closed.
    """
    withdrawal = find_withdrawal(reader, withdrawal_id)
    if withdrawal.state is not WithdrawalState.CLOSED:
        raise VerificationError(
            f"withdrawal {withdrawal_id} is {withdrawal.state.value}, not closed. Wait for it to "
            "close before you make its certificate."
        )
    events = list(reader.events())
    return Certificate(
        consortium=consortium_part(reader),
        withdrawal=withdrawal_part(reader, events, withdrawal),
        method=withdrawal.method.value,
        replaced=replaced_models(reader, events, withdrawal_id),
        latest=model_part(reader, withdrawal.closed_model),
        attestations=_counted(attestations, events, withdrawal),
        heads=tuple(heads),
        replay=replay,
        evaluation=evaluation,
    )


def _counted(
    attestations: Iterable[Attestation], events: Sequence[Event], withdrawal: Withdrawal
) -> tuple[Attestation, ...]:
    """Return the attestations that the chain counts, one for each auditor, ascending by auditor.

    Anyone can lay a file beside the others, so it must be signed by an auditor who attested.
    """
    wanted = withdrawal.evidence, withdrawal.id
    auditors = attesting(events, withdrawal.id, withdrawal.evidence)
    chosen = {
        each.auditor: each
        for each in attestations
        if (each.evidence, each.withdrawal_id) == wanted
        and each.auditor in auditors
        and _is_signed(each)
    }
    return tuple(chosen[auditor] for auditor in sorted(chosen, key=str.lower))


def _is_signed(attestation: Attestation) -> bool:
    try:
        attestation.check_statement()
    except BadSignature:
        return False
    return True


def find_withdrawal(reader: ConsortiumReader, withdrawal_id: int) -> Withdrawal:
    """Return a withdrawal.

    Raises:
        VerificationError: There is no such withdrawal.
    """
    withdrawals = {each.id: each for each in reader.withdrawals()}
    if withdrawal_id not in withdrawals:
        raise VerificationError(
            f"there is no withdrawal {withdrawal_id} on chain: they are numbered from 1 to "
            f"{len(withdrawals)}"
        )
    return withdrawals[withdrawal_id]


def consortium_part(reader: ConsortiumReader) -> ConsortiumPart:
    """Return the consortium as it is on chain."""
    settings = reader.settings()
    return ConsortiumPart(
        deployment=reader.deployment,
        block_hash=deployment_block_hash(reader),
        parameters_id=settings.parameters_id,
        base_model_id=settings.base_model_id,
        rules=tuple(rule.value for rule in settings.rules),
        chained=settings.chained,
        attested=settings.attested,
    )


def withdrawal_part(
    reader: ConsortiumReader, events: Sequence[Event], withdrawal: Withdrawal
) -> WithdrawalPart:
    """Return a closed withdrawal as it is on chain."""
    requested = withdrawal_event(events, "WithdrawalRequested", withdrawal.id)
    closed = withdrawal_event(events, "WithdrawalClosed", withdrawal.id)
    return WithdrawalPart(
        withdrawal_id=withdrawal.id,
        organization=withdrawal.organization,
        name=reader.member(withdrawal.organization).name,
        subject=withdrawal.subject,
        expelled=withdrawal.expelled,
        amendments=amendments_of(events, withdrawal.id),
        request_transaction=requested.tx_hash,
        close_transaction=closed.tx_hash,
        close_block=closed.block,
        evidence=withdrawal.evidence,
        auditors=attesting(events, withdrawal.id, withdrawal.evidence),
        offered=offered_for(reader, withdrawal.id),
        ledger=anchor_at(events, withdrawal.organization, closed.block),
    )


def withdrawal_event(events: Sequence[Event], name: str, withdrawal_id: int) -> Event:
    """Return the first event of a name about a withdrawal.

    Raises:
        VerificationError: There is none.
    """
    for event in events:
        if event.name == name and event.args.get("id") == withdrawal_id:
            return event
    raise VerificationError(f"there is no {name} of withdrawal {withdrawal_id} on chain")


def amendments_of(events: Sequence[Event], withdrawal_id: int) -> tuple[int, ...]:
    """Return the numbers of the amendments that a withdrawal made, in order."""
    numbers = [
        int(str(event.args["amendment"]))
        for event in events
        if event.name in _AMENDING and event.args["id"] == withdrawal_id
    ]
    return tuple(dict.fromkeys(numbers))


def attesting(events: Sequence[Event], withdrawal_id: int, evidence: str) -> tuple[str, ...]:
    """Return the auditors who attested evidence of a withdrawal, ascending by address."""
    auditors = {
        str(auditor)
        for event in events
        if event.name == "WithdrawalAttested"
        and event.args["id"] == withdrawal_id
        and to_hex(event.args["evidence"]) == evidence
        for auditor in event.args["auditors"]  # type: ignore[attr-defined]
    }
    return tuple(sorted(auditors, key=str.lower))


def offered_for(reader: ConsortiumReader, withdrawal_id: int) -> tuple[OfferedPart, ...]:
    """Return what was offered for a withdrawal and its replay, in the order of the chain."""
    replay_id = reader.replay_of(withdrawal_id)
    wanted = {withdrawal_id} | ({replay_id} if replay_id else set())
    return tuple(
        _offered_part(each, replay_id) for each in reader.offers() if each.offer_id in wanted
    )


def _offered_part(contribution: Contribution, replay_id: int) -> OfferedPart:
    return OfferedPart(
        replay=contribution.offer_id == replay_id,
        round_id=contribution.round_id,
        organization=contribution.organization,
        artifact_ids=contribution.parts.artifact_ids,
        point_hashes=contribution.parts.point_hashes,
    )


def anchor_at(events: Sequence[Event], organization: str, block: int) -> LedgerPart | None:
    """Return the newest anchor of an organization's ledger up to a block, or None."""
    anchors = [
        event
        for event in events
        if event.name == "Anchored"
        and event.args["organization"] == organization
        and event.block <= block
    ]
    if not anchors:
        return None
    size, root = int(str(anchors[-1].args["size"])), to_hex(anchors[-1].args["root"])
    return LedgerPart(size=size, root=root, anchor_transaction=anchors[-1].tx_hash)


def model_part(reader: ConsortiumReader, model_id: int) -> ModelPart:
    """Return a model with its content, as on chain."""
    return ModelPart(
        model_id=model_id,
        commitments=reader.commitments(model_id),
        content=tuple(
            tuple(
                EntryPart(
                    round_id=entry.round_id,
                    organization=entry.organization,
                    weight=entry.weight,
                    point_hash=entry.point_hash,
                )
                for entry in reader.content(model_id, part)
            )
            for part in range(reader.part_count())
        ),
        publication=_publication_part(reader, model_id),
    )


def _publication_part(reader: ConsortiumReader, model_id: int) -> PublicationPart | None:
    chosen = choose_publication(reader, reader.publications(model_id))
    if chosen is None:
        return None
    return PublicationPart(
        publisher=chosen.publisher, adapter_id=chosen.adapter_id, opening_id=chosen.opening_id
    )


def choose_publication(
    reader: ConsortiumReader, published: Sequence[Publication]
) -> Publication | None:
    """Return the aggregator's last statement on a model's files, or that of a former one, or None.

    Anyone may publish, so strangers' statements must not stand in for the aggregator's.
    """
    present, former = reader.aggregator(), reader.aggregators()
    own = [each for each in published if each.publisher == present]
    accepted = own or [each for each in published if each.publisher in former]
    return accepted[-1] if accepted else None


def replaced_models(
    reader: ConsortiumReader, events: Sequence[Event], withdrawal_id: int
) -> tuple[ReplacedPart, ...]:
    """Return every model that was folded for a withdrawal, with the model that it succeeds."""
    numbers = set(amendments_of(events, withdrawal_id))
    replaced = []
    for event in events:
        # A round's model (kind 0) carries amendments on and makes none.
        if event.name != "ModelRegistered" or not event.args["kind"]:
            continue
        amendment = int(str(event.args["amendments"]))
        if amendment in numbers:
            source, model = int(str(event.args["source"])), int(str(event.args["model"]))
            replaced.append(
                ReplacedPart(
                    amendment=amendment,
                    before=model_part(reader, source),
                    after=model_part(reader, model),
                    transaction=event.tx_hash,
                )
            )
    return tuple(replaced)
