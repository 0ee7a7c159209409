"""The repetition of a sample of a replay's rounds, for auditors.

It trains each round again from the same start and data, from the first step, and changes nothing in
the node's state. The new deltas stay in a folder for auditors, who compare them with the offers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rescind.contracts import REPLAY_OFFERS, Contribution, Withdrawal, WithdrawalMethod
from rescind.core import ArtifactStore, StoreMissing, Term, encode, is_hiding, needs_rounds
from rescind.core.errors import ConfigError, DataError
from rescind.node.adopting import fetch
from rescind.node.residuals import residual_of
from rescind.node.retraining import own_before, start_of_withdrawal
from rescind.node.rounds import Start, start_of_entries
from rescind.node.session import Session
from rescind.node.stack import stack_of
from rescind.node.subjects import Withdrawn
from rescind.node.training import check_data, train_part
from rescind.node.withdrawal_facts import OfferedDelta
from rescind.wire import ModelFiles
from rescind.withdrawals import (
    RepeatedPart,
    Repetition,
    draw_sample,
    last_offers,
    replay_content,
)


def repeat(
    session: Session, withdrawal_id: int, folder: Path, *, more: Sequence[int] = ()
) -> Repetition:
    """Train the sampled rounds of a replay again, and return the report that auditors compare.

    Args:
        session: The node's session.
        withdrawal_id: The withdrawal.
        folder: Where the new deltas go, as in a store.
        more: Rounds that an auditor asks for beyond the sample.

    Raises:
        ConfigError: The withdrawal is not a replay, or the organization offered no such round.
        NothingToRepeat: The offers are not closed yet.
        DataError: The node's data is not what the round was trained on.
        StoreMissing: What the round started from is not at hand any more.
    """
    withdrawal = session.consortium.withdrawal(withdrawal_id)
    if withdrawal.method is not WithdrawalMethod.REPLAY:
        raise ConfigError(
            f"withdrawal {withdrawal_id} is a {withdrawal.method.value}. Only a replay is trained "
            "again for auditors."
        )
    share = session.parameters.attestation.sample
    sample = draw_sample(session.consortium, withdrawal, session.me, share)
    offers = {offer.round_id: offer for offer in sample.offers}
    offers |= _asked_for(session, withdrawal, more)
    store = ArtifactStore(folder)
    parts = [_repeat_round(session, offers[number], store) for number in sorted(offers)]
    deployment = session.consortium.deployment
    report = Repetition(
        chain_id=deployment.chain_id,
        withdrawals=deployment.withdrawals,
        withdrawal_id=withdrawal_id,
        organization=session.me,
        block=sample.block,
        block_hash=sample.block_hash,
        stack=stack_of(session, min(offers)),
        rounds=tuple(parts),
    )
    return report.signed(session.account)


def _asked_for(
    session: Session, withdrawal: Withdrawal, rounds: Sequence[int]
) -> dict[int, Contribution]:
    """Return the node's offers of the rounds that an auditor names."""
    own = {
        offer.round_id: offer
        for offer in last_offers(session.consortium, withdrawal.id)
        if offer.organization == session.me
    }
    missing = [number for number in rounds if number not in own]
    if missing:
        known = ", ".join(map(str, sorted(own))) or "none"
        raise ConfigError(
            f"You offered no delta of round {missing[0]} for withdrawal {withdrawal.id}. Rounds "
            f"that you offered: {known}."
        )
    return {number: own[number] for number in rounds}


def _repeat_round(session: Session, offer: Contribution, store: ArtifactStore) -> RepeatedPart:
    fact = OfferedDelta.load(session.journal, offer.offer_id, offer.round_id)
    _check_data(session, fact)
    before = own_before(session, offer.offer_id, offer.round_id)
    start_id, start = _start(session, offer, fact, before)
    residual = residual_of(session, before)
    trained = train_part(session, offer.round_id, start, residual, keep_checkpoints=False)
    # Noise that hides a digest is drawn once; with it a faithful repetition has the same bytes.
    offered = session.store.load(fact.delta.artifact)
    noise = {name: value for name, value in offered.items() if is_hiding(name)}
    return RepeatedPart(
        offer_id=offer.offer_id,
        round_id=offer.round_id,
        offered=offer.parts.artifact_ids[0],
        repeated=store.put(encode({**trained.quantized.delta, **noise})),
        start=start_id,
        steps=trained.result.steps,
        examples=trained.result.examples,
        first_loss=trained.result.first_loss,
        last_loss=trained.result.last_loss,
    )


def _check_data(session: Session, fact: OfferedDelta) -> None:
    """Refuse to repeat a round on other data than it was trained on."""
    if fact.delta.without != Withdrawn.of(session.journal).commitments:
        raise DataError(
            f"Round {fact.round_id} cannot be repeated: another data subject was withdrawn since "
            "it was trained, and its rows are not used any more. Ask the auditors to go on without "
            "this check (--accept-skipped)."
        )
    check_data(session, fact.round_id)


def _start(
    session: Session, offer: Contribution, fact: OfferedDelta, before: Sequence[Term]
) -> tuple[str, Start]:
    """Return the start of a round, as the node checked it when it trained the round."""
    start_id, consortium = str(fact.report["start"]), session.consortium
    if session.parameters.layout == "shared" and not needs_rounds(session.parameters):
        return start_id, Start(fetch(session, start_id))
    if offer.offer_id < REPLAY_OFFERS:
        return start_of_withdrawal(session, offer.offer_id, offer.round_id, before)
    entries = replay_content(consortium, consortium.replay(offer.offer_id), offer.round_id)
    return start_id, start_of_entries(session, entries, lambda: _no_sums(offer.round_id))


def _no_sums(round_id: int) -> list[ModelFiles]:
    raise StoreMissing(
        f"The sums that round {round_id} was trained from are not in the node's store any more. "
        "Restore the state folder from a backup."
    )
