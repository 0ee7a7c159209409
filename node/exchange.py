"""The exchange of an update: commit to it, upload it, reveal it."""

from __future__ import annotations

from dataclasses import replace

import structlog

from rescind.contracts import DeltaId
from rescind.node import fisher
from rescind.node.facts import DeltaFact, RoundFacts, Update
from rescind.node.session import Session
from rescind.wire import WrongPhase, sign_typed, split, update_typed_data


def commit(session: Session, round_id: int) -> None:
    """Commit on chain to the trained update."""
    update = RoundFacts.load(session.journal, round_id).trained()
    salt = bytes.fromhex(update.salt)
    session.consortium.commit(round_id, delta_id(update.delta), salt, update.manifest_root)


def upload(session: Session, round_id: int) -> None:
    """Send the chunks that the aggregator does not have, then the signed update."""
    facts = RoundFacts.load(session.journal, round_id)
    update = facts.trained()
    try:
        _send(session, round_id, update)
    except WrongPhase as error:
        structlog.get_logger().warning("upload not taken", round=round_id, reason=str(error))
        return
    replace(facts, submitted=True).save(session.journal)


def _send(session: Session, round_id: int, update: Update) -> None:
    artifact = update.delta.artifact
    data = session.store.get(artifact)
    chunk_list, _ = split(data)
    document = update_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        round_id=round_id,
        artifact_id=artifact,
        size=len(data),
        nonce=update.nonce,
    )
    signature = sign_typed(document, session.account.key)
    session.client.upload(data)
    session.client.submit(round_id, chunk_list, update.nonce, signature)
    if update.fisher is not None:
        fisher.post(session, round_id, update.fisher)


def reveal(session: Session, round_id: int) -> None:
    """Open the commitment on chain."""
    update = RoundFacts.load(session.journal, round_id).trained()
    salt = bytes.fromhex(update.salt)
    session.consortium.reveal(round_id, delta_id(update.delta), salt, update.manifest_root)


def delta_id(delta: DeltaFact) -> DeltaId:
    """Return a delta's artifact id and digest root, as contracts take them."""
    return DeltaId(delta.artifact, delta.digest_root)
