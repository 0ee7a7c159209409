"""A contribution that is registered again without training: only its statistics change.

A data subject whose rows are in statistics alone is taken out of sums. The delta beside them stays
the same, with fresh hiding noise, because no point can be registered twice.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from rescind.contracts import REPLAY_OFFERS, WithdrawalMethod
from rescind.core import HIDING, Term, commit, digest, encode, is_hiding, owner, qualify
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.node.facts import DeltaFact, RoundFacts
from rescind.node.hiding import hiding_noise
from rescind.node.offers import about_offer, offer_name
from rescind.node.own_deltas import own_terms
from rescind.node.residuals import residual_at, save_residual
from rescind.node.session import Session
from rescind.node.statistics import contribute_statistics
from rescind.node.subjects import Withdrawn
from rescind.node.training import data_hash, manifest_of, record_manifest, trained_on_same_data
from rescind.node.withdrawal_facts import OfferedDelta


def contribute_again(session: Session, offer_id: int, round_id: int) -> bool:
    """Make a replacement's contribution to a round without training, where that is exact.

    It is exact if the delta would be trained on the same examples, from the same start. The
    statistics of the newest round alone are in models, so an earlier round's contribution stays.

    Args:
        session: The node's session.
        offer_id: The withdrawal.
        round_id: The round.

    Returns:
        Whether it was made; if not, the delta has to be trained.
    """
    agreed = session.parameters.statistics
    registered = _registered(session, round_id) if agreed else None
    if agreed is None or registered is None or not _may_stay(session, offer_id, round_id):
        return False
    if not trained_on_same_data(session, registered):
        return False
    latest = max(each.round_id for each in _own_rounds(session))
    if round_id < latest:
        OfferedDelta(offer_id, round_id, registered, {}, unchanged=True).save(session.journal)
        return True
    fact = _again(session, registered, agreed, round_id, offer_id)
    OfferedDelta(offer_id, round_id, fact, {"trained": False}).save(session.journal)
    return True


def _may_stay(session: Session, offer_id: int, round_id: int) -> bool:
    """Return whether the withdrawal is a replacement that changed no earlier delta."""
    if offer_id >= REPLAY_OFFERS:
        return False
    if session.consortium.withdrawal(offer_id).method is not WithdrawalMethod.REPLACEMENT:
        return False
    return all(
        fact.unchanged
        for fact in OfferedDelta.all(session.journal)
        if fact.offer_id == offer_id and fact.round_id < round_id
    )


def _own_rounds(session: Session) -> list[Term]:
    head = session.consortium.content(session.consortium.latest_model_id())
    return [term for term in own_terms(session, head) if term.round_id]


def _registered(session: Session, round_id: int) -> DeltaFact | None:
    """Return the delta of a round that is in the newest model."""
    updates = [facts.update.delta for facts in RoundFacts.all(session.journal) if facts.update]
    offered = [fact.delta for fact in OfferedDelta.all(session.journal)]
    known = {delta.point_hash: delta for delta in [*updates, *offered]}
    points = [term.point_hash for term in _own_rounds(session) if term.round_id == round_id]
    return known.get(points[0]) if points else None


def _again(
    session: Session,
    registered: DeltaFact,
    agreed: StatisticsParameters,
    round_id: int,
    offer_id: int,
) -> DeltaFact:
    """Store the same delta with fresh noise, and new statistics; record them in the ledger."""
    from rescind.training import choose, round_seed

    parameters, action = session.parameters, RoundFacts.load(session.journal, round_id).action
    loaded = session.store.load(registered.artifact)
    delta = {name: value for name, value in loaded.items() if not is_hiding(name)}
    noise = hiding_noise(session, delta, round_id, offer_id)
    delta[qualify(owner(parameters.layout, session.me), HIDING)] = noise
    artifact = session.store.put(encode(delta))
    salt = secrets.token_bytes(32)
    seed = round_seed(parameters.seed, session.me, round_id)
    trained = choose(session.examples, action.data_fraction, seed) if action.effort else []
    posted = contribute_statistics(session, agreed, round_id, offer_id)
    manifest = manifest_of((*trained, *posted.rows), salt)
    fact = replace(
        registered,
        artifact=artifact,
        point=commit(digest(delta)).hex(),
        residual=save_residual(session, artifact, residual_at(session, registered.artifact)),
        manifest_root=manifest.commitment.hex(),
        manifest_salt=salt.hex(),
        data_hash=data_hash(session.examples, salt, session.public),
        without=Withdrawn.of(session.journal).commitments,
        statistics=posted.fact,
    )
    record_manifest(session, manifest, fact, round_id, offer_id)
    session.ledger.append(
        "training-run",
        {
            **about_offer(offer_id),
            "round": round_id,
            "artifact": fact.artifact,
            "point_hash": fact.point_hash,
            "manifest_root": fact.manifest_root,
            "steps": 0,
            "statistics": fact.artifacts[fact.parts.point_hashes[1]],
        },
        key=f"{offer_name(offer_id)}/training-run/{round_id}",
    )
    return fact
