"""How long a node keeps its contributions: until no model in use holds them.

Until then it may have to hand them to a new aggregator, and it trains replacements from them. After
that they are only copies of what data was trained on, also of data that was withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import structlog

from rescind.contracts import REPLAY_OFFERS, WithdrawalState
from rescind.node.facts import AdoptedModel, RoundFacts
from rescind.node.residuals import delete_residual
from rescind.node.session import Session
from rescind.node.withdrawal_facts import OfferedDelta, own_artifacts

NEWEST_KEPT = 4
"""Adopted models whose files stay, whether or not they are in use."""


def delete_unused(session: Session) -> None:
    """Delete the node's own contributions that are in no model in use and can come into none.

    What a closed withdrawal took out goes at once, with a record: see rescind.node.erasing.
    """
    if session.config.node.keep_withdrawn:
        return
    artifacts = own_artifacts(session.journal)
    stored = {point: each for point, each in artifacts.items() if session.store.has(each)}
    with session.consortium.chain.at_one_block():
        unused = set(stored) - set(_in_models(session))
        unused -= set(_pending(session, unused))
    for point in sorted(unused):
        session.store.delete(stored[point])
        delete_residual(session, stored[point])
        structlog.get_logger().info("contribution deleted", artifact=stored[point])


def delete_superseded(session: Session) -> None:
    """Delete, in blocks, the files of models that others took the place of.

    Each has the blocks of all members, so a disk would fill with them. Kept are the models in use,
    the parent of the current round, and the newest that the node adopted: the next model's unchanged
    blocks are taken from those. In a shared layout a replay starts from old models, which all stay.
    """
    consortium = session.consortium
    if session.config.node.keep_withdrawn or session.parameters.layout != "blocks":
        return
    with consortium.chain.at_one_block():
        round_id = consortium.current_round_id()
        kept = {consortium.latest_model_id(), *consortium.models_in_use()}
        kept |= {consortium.round(round_id).parent_model} if round_id else set()
    facts = sorted(AdoptedModel.all(session.journal), key=lambda fact: fact.model_id)
    kept |= {fact.model_id for fact in facts[-NEWEST_KEPT:]}
    files = {
        file
        for fact in facts
        if fact.model_id in kept
        for file in (fact.adapter_id, fact.opening_id)
    }
    for fact in facts:
        for file in {fact.adapter_id, fact.opening_id} - files - {""}:
            if session.store.has(file):
                session.store.delete(file)
                structlog.get_logger().info("superseded file deleted", model=fact.model_id)


def _in_models(session: Session) -> Iterator[str]:
    """Yield the points of the node's own contributions in models in use, stale ones too."""
    consortium = session.consortium
    for model_id in {consortium.latest_model_id(), *consortium.models_in_use()}:
        for entry in consortium.contents(model_id) if model_id else ():
            if entry.organization == session.me:
                yield entry.point_hash


def _pending(session: Session, points: Set[str]) -> Iterator[str]:
    """Yield those of the points that belong to a round or a withdrawal that is not over."""
    consortium = session.consortium
    current = consortium.current_round_id()
    for facts in RoundFacts.all(session.journal):
        own = points & facts.update.delta.artifacts.keys() if facts.update else frozenset()
        if not own:
            continue
        if facts.round_id > current or not consortium.round(facts.round_id).state.over:
            yield from own
    for offered in OfferedDelta.all(session.journal):
        own = points & offered.delta.artifacts.keys()
        if own and not _is_over(session, offered.offer_id):
            yield from own


def _is_over(session: Session, offer_id: int) -> bool:
    """Return whether a withdrawal, or every withdrawal that a replay is for, is closed."""
    consortium = session.consortium
    replays = offer_id >= REPLAY_OFFERS
    ids = consortium.replay(offer_id).withdrawals if replays else (offer_id,)
    states = [consortium.withdrawal(each).state for each in ids]
    return all(state is WithdrawalState.CLOSED for state in states)
