"""The exchange of deltas: commit to an update, upload it, reveal it; hand deltas over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog

from rescind.core.errors import RescindError
from rescind.core.mapped import Bytes
from rescind.node import fisher
from rescind.node.facts import RoundFacts, Update
from rescind.node.session import Session
from rescind.node.withdrawal_facts import own_artifacts
from rescind.wire import NotAMember, SizedArtifact, WrongHash, sign_typed, update_typed_data


def commit(session: Session, round_id: int) -> None:
    """Commit on chain to the trained update."""
    update = RoundFacts.load(session.journal, round_id).trained()
    salt = bytes.fromhex(update.salt)
    session.consortium.commit(round_id, update.delta.parts, salt)


def upload(session: Session, round_id: int) -> None:
    """Send the update's bytes that the aggregator does not hold, then sign for them.

    An update that is not taken is tried again later: the reveal does not wait for it.
    """
    facts = RoundFacts.load(session.journal, round_id)
    update = facts.trained()
    try:
        _send(session, round_id, update)
    except RescindError as error:
        structlog.get_logger().warning(
            "upload not taken", round=round_id, code=error.code, reason=str(error)
        )
        session.paused_uploads.add(round_id)
        return
    replace(facts, submitted=True).save(session.journal)


def _send(session: Session, round_id: int, update: Update) -> None:
    for part in range(len(update.delta.parts.artifact_ids)):
        _send_part(session, round_id, update, part)
    if update.fisher is not None:
        fisher.post(session, round_id, update.fisher)


def _send_part(session: Session, round_id: int, update: Update, part: int) -> None:
    artifact, nonce = update.delta.parts.artifact_ids[part], update.nonce + part
    document = update_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        round_id=round_id,
        artifact_id=artifact,
        size=len(session.store.view(artifact, check=False)),
        nonce=nonce,
    )
    signature = sign_typed(document, session.account.key)
    # A trained delta is like none before. One that was not is, and so are sums of the same rows.
    trained = RoundFacts.load(session.journal, round_id).action.effort > 0
    like = None if part == 0 and trained else in_newest_model(session, part)

    def submit(sent: SizedArtifact) -> None:
        session.client.submit(round_id, sent, nonce, signature, part)

    deliver(session, artifact, like, submit)


def deliver(
    session: Session, artifact: str, like: Bytes | None, submit: Callable[[SizedArtifact], None]
) -> None:
    """Send the bytes of an artifact that the aggregator does not hold, then submit it.

    Args:
        session: The node's session.
        artifact: Its id; it is in the node's store.
        like: An earlier artifact, whose bytes at the same places are not sent again.
        submit: Submits the artifact once the aggregator holds it.
    """
    # The aggregator hashes what it receives: to hash it here, too, would only take longer.
    data, before = session.store.view(artifact, check=False), session.client.sent_bytes
    sent = session.client.upload(data, like, artifact_id=artifact)
    try:
        submit(sent)
    except WrongHash:
        # Refused as damaged if it is; else what the aggregator kept is damaged there.
        session.store.view(artifact)
        if like is None:
            raise
        submit(session.client.upload(data, artifact_id=artifact))
    moved = session.client.sent_bytes - before
    structlog.get_logger().info("sent", artifact=artifact, size=len(data), moved=moved)


def in_newest_model(session: Session, part: int) -> Bytes | None:
    """Return the node's latest contribution in the newest model, which the aggregator keeps."""
    head = session.consortium.latest_model_id()
    entries = session.consortium.content(head, part) if head else ()
    own = [entry for entry in entries if entry.organization == session.me]
    latest = max(own, key=lambda entry: entry.round_id, default=None)
    artifact = own_artifacts(session.journal).get(latest.point_hash, "") if latest else ""
    return session.store.view(artifact) if artifact and session.store.has(artifact) else None


def reveal(session: Session, round_id: int) -> None:
    """Open the commitment on chain."""
    update = RoundFacts.load(session.journal, round_id).trained()
    salt = bytes.fromhex(update.salt)
    session.consortium.reveal(round_id, update.delta.parts, salt)


def hand_over(session: Session) -> None:
    """Give the aggregator those of the node's own contributions that it needs and does not have.

    A new aggregator asks for all that the models in use contain.
    """
    own = {each for each in own_artifacts(session.journal).values() if session.store.has(each)}
    if not own or session.consortium.excluded_by(session.me):
        # Nothing of an organization that is out is wanted, and the aggregator would refuse the call.
        return
    try:
        wanted = session.client.wanted()
    except NotAMember:
        # It went out between the two looks.
        return
    for artifact in dict.fromkeys(wanted):
        # Only the node's own deltas leave it, whatever the aggregator asks for.
        if artifact in own:
            session.client.hand_over(session.store.view(artifact), artifact_id=artifact)
