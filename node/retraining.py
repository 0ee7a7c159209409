"""The training of a round's delta again, for a withdrawal or for a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rescind.contracts import REPLAY_OFFERS, Entry
from rescind.core import SHARED, Term, adapter_totals, encoded_id, needs_rounds
from rescind.node.adopting import adopted, adopted_id
from rescind.node.offers import about_offer, offer_name
from rescind.node.own_deltas import own_terms
from rescind.node.reposting import contribute_again
from rescind.node.residuals import residual_of
from rescind.node.rounds import (
    Start,
    checked_sum,
    shared_totals,
    start_from,
    start_of_entries,
    start_of_own,
)
from rescind.node.session import Session
from rescind.node.stack import stack_of
from rescind.node.training import check_data, make_delta
from rescind.node.withdrawal_facts import OfferedDelta, own_artifacts
from rescind.wire import NotPublished
from rescind.withdrawals import remaining_content, replay_content


def retrain(session: Session, offer_id: int, round_id: int) -> None:
    """Train the node's delta of a round again, without the withdrawn data, and store it.

    Args:
        session: The node's session.
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round.
    """
    check_data(session, round_id)
    if contribute_again(session, offer_id, round_id):
        return
    before = own_before(session, offer_id, round_id)
    replays = offer_id >= REPLAY_OFFERS
    if replays:
        start_id, start = _start_of_replay(session, offer_id, round_id)
    else:
        start_id, start = start_of_withdrawal(session, offer_id, round_id, before)
    trained = make_delta(session, round_id, start, residual_of(session, before), offer_id)
    origin = {"start": start_id, "seed": _round_seed(session, round_id)}
    registered = own_artifacts(session.journal, rounds_only=True)
    trained.record(session, round_id, offer_id)
    session.ledger.append(
        "training-run",
        {**about_offer(offer_id), "round": round_id, **origin, **trained.run},
        key=f"{offer_name(offer_id)}/training-run/{round_id}",
    )
    OfferedDelta(
        offer_id=offer_id,
        round_id=round_id,
        delta=trained.fact,
        report={
            **origin,
            **_reported(trained.run),
            "stack": stack_of(session, round_id).model_dump(),
        },
        # In a replay every member registers its delta again, changed or not.
        unchanged=not replays and trained.fact.point_hash in registered,
    ).save(session.journal)


def own_before(session: Session, offer_id: int, round_id: int) -> list[Term]:
    """Return the node's own deltas of earlier rounds as they will be after the withdrawal."""
    consortium = session.consortium
    head = own_terms(session, consortium.content(consortium.latest_model_id()))
    terms = []
    for term in head:
        if not 0 < term.round_id < round_id:
            continue
        offered = OfferedDelta.find(session.journal, offer_id, term.round_id)
        artifact = term.artifact_id if offered is None else offered.delta.artifact
        terms.append(Term(term.round_id, term.organization, artifact, term.weight))
    return terms


def start_of_withdrawal(
    session: Session, offer_id: int, round_id: int, before: Sequence[Term]
) -> tuple[str, Start]:
    """Return the start of a round for a withdrawal, with the artifact id of its plain sum.

    In blocks it is made of the node's own deltas before, and of the counter-deltas that the round's
    recorded parent had. In a shared layout it is the recorded parent, or where that was erased after
    another withdrawal, what the newest model still has of it. In a split coupling it is both: the
    shared ranks of the recorded parent beside the node's own deltas.
    """
    parent = session.consortium.round(round_id).parent_model
    if session.parameters.layout == "shared":
        try:
            return adopted_id(session, parent), start_from(session, parent)
        except NotPublished:
            if parent in session.consortium.models_in_use():
                raise
        return _start_of_remaining(session, offer_id, round_id)
    recorded = own_terms(session, session.consortium.content(parent))
    own = [*(term for term in recorded if not term.round_id), *before]
    if session.parameters.split is None:
        return _own_id(session, own), start_of_own(session, own)
    shared = _shared_start(session, offer_id, round_id, parent)
    both = {**start_of_own(session, own).adapter, **shared.adapter}
    return encoded_id(both) if both else "", Start(both)


def _shared_start(session: Session, offer_id: int, round_id: int, parent: int) -> Start:
    """Return the shared ranks of a round's recorded parent.

    Files of models that others took the place of are deleted. Then the aggregator sums again what is
    left of the parent's content: the same integers, unless a withdrawal changed it.
    """
    fact = adopted(session, parent) if parent else None
    if not parent or (fact and (not fact.adapter_id or session.store.has(fact.adapter_id))):
        return Start(shared_totals(session, parent))
    return _start_of_remaining(session, offer_id, round_id)[1]


def _start_of_remaining(session: Session, offer_id: int, round_id: int) -> tuple[str, Start]:
    """Return what the newest model still has of what all shared in a round's recorded parent."""
    shared = session.parameters.part_of(SHARED).number
    entries = remaining_content(session.consortium, round_id, shared)
    return _start_of_sum(session, offer_id, round_id, entries)


def _own_id(session: Session, own: Sequence[Term]) -> str:
    totals = adapter_totals(own, session.store.load)
    return encoded_id(totals) if totals else ""


def _start_of_replay(session: Session, replay_id: int, round_id: int) -> tuple[str, Start]:
    """Return the start of a replayed round: what members offered for the rounds before it."""
    consortium = session.consortium
    entries = replay_content(consortium, consortium.replay(replay_id), round_id)
    return _start_of_sum(session, replay_id, round_id, entries)


def _start_of_sum(
    session: Session, offer_id: int, round_id: int, entries: Sequence[Entry]
) -> tuple[str, Start]:
    """Return the start that the aggregator sums from some entries, once it opens to their points."""
    files = session.client.replay_start(offer_id, round_id)
    if needs_rounds(session.parameters):
        listed = partial(session.client.replay_sums, offer_id, round_id)
        return files.adapter_id, start_of_entries(session, entries, listed)
    return files.adapter_id, Start(checked_sum(session, files, entries))


def _reported(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what auditors see of a training run."""
    names = ("steps", "examples", "tokens", "first_loss", "last_loss", "manifest_root", "norm")
    return {name: run[name] for name in names}


def _round_seed(session: Session, round_id: int) -> int:
    from rescind.training import round_seed

    return round_seed(session.parameters.seed, session.me, round_id)
