"""The adoption of a model: download its adapter and its openings, and check them."""

from __future__ import annotations

from typing import Any

import structlog

from rescind.core import OpeningMismatch, split_owner
from rescind.core.errors import RescindError
from rescind.core.parameters import reference_of
from rescind.daemon import RulesNotServed
from rescind.node.checks import NotCarriedOut
from rescind.node.facts import AdoptedModel, Fetched
from rescind.node.held_blocks import held_blocks
from rescind.node.session import Session
from rescind.wire import ModelFiles, NotPublished, WrongHash
from rescind.withdrawals import (
    RecordedModel,
    accept_files,
    most_adapter_bytes,
    most_opening_bytes,
    record_of,
)


def adopt(session: Session, model_id: int) -> None:
    """Download a model's files, check them against the chain, and record that the node has them.

    In blocks, owners whose tensors do not open are left out and named in the log.

    Raises:
        NotPublished: No one has published the files.
        OpeningMismatch: They do not open to what the chain registered.
        StoreCorrupt: The node's own copy was damaged, and is deleted.
    """
    if not model_id or adopted(session, model_id):
        return
    commitments = session.consortium.commitments(model_id)
    try:
        files = published_files(session, model_id)
    except NotPublished:
        if session.consortium.content(model_id):
            raise
        # Nothing is left in the model, so it has no files.
        AdoptedModel(model_id, "", "", commitments=commitments).save(session.journal)
        return
    record = record_of(session.consortium, model_id)
    adapter, opening = download(session, files, record)
    result = accept_files(record, session.parameters, adapter, opening, files.adapter_id)
    if not result.servable:
        # A damaged file of the node's own says nothing about the model: it is fetched again.
        session.store.view(files.adapter_id)
        raise OpeningMismatch(result.sentence())
    if result.left_out:
        structlog.get_logger().error(
            "parts of the model are left out", model=model_id, reason=result.sentence()
        )
    AdoptedModel(model_id, files.adapter_id, files.opening_id, result.left_out, commitments).save(
        session.journal
    )
    fetch_reference(session)


def fetch_reference(session: Session) -> None:
    """Download the agreed router's public reference, once. Only a server that routes needs it."""
    reference = reference_of(session.parameters)
    if not reference or session.store.has(reference):
        return
    limit = session.parameters.max_artifact_bytes
    try:
        session.client.download_into(session.store, reference, limit)
    except RescindError as error:
        structlog.get_logger().warning("the router's reference is missing", reason=str(error))


def adopted(session: Session, model_id: int) -> AdoptedModel | None:
    """Return the files that the node has of a model of the chain; None before it adopted them."""
    fact = AdoptedModel.load(session.journal, model_id)
    if fact is None or fact.commitments != tuple(session.consortium.commitments(model_id)):
        return None
    return fact


def try_to_adopt(session: Session, model_id: int) -> None:
    """Adopt a model, or note that it cannot be had now, so that the node goes on meanwhile."""
    try:
        adopt(session, model_id)
    except (NotCarriedOut, RulesNotServed):
        raise
    except NotPublished as error:
        # The usual case for a moment after a fold.
        structlog.get_logger().info("model not published yet", model=model_id, reason=str(error))
        session.unavailable.add(model_id)
    except (RescindError, OSError) as error:
        structlog.get_logger().error("model not adopted", model=model_id, reason=str(error))
        session.unavailable.add(model_id)


def adopted_tensors(session: Session, model_id: int) -> dict[str, Any]:
    """Return the integers of a model's adapter, adopting it if need be, without what is left out.

    Raises:
        NotPublished: No one has published the files.
        OpeningMismatch: They do not open to what the chain registered.
    """
    adopt(session, model_id)
    fact = AdoptedModel.load(session.journal, model_id)
    if fact is None or not fact.adapter_id:
        return {}
    tensors = fetch(session, fact.adapter_id)
    return {name: v for name, v in tensors.items() if split_owner(name)[0] not in fact.left_out}


def adopted_id(session: Session, model_id: int) -> str:
    """Return the artifact id of a model's adapter, adopting it if need be; "" for the base model.

    Raises:
        NotPublished: No one has published the files.
        OpeningMismatch: They do not open to what the chain registered.
    """
    adopt(session, model_id)
    fact = AdoptedModel.load(session.journal, model_id)
    return fact.adapter_id if fact else ""


def published_files(session: Session, model_id: int) -> ModelFiles:
    """Return the files of a model by the aggregator's word, or by its statement on chain.

    Raises:
        NotPublished: The aggregator has published none.
    """
    try:
        return session.client.model(model_id)
    except NotPublished:
        aggregator = session.consortium.aggregator()
        stated = session.consortium.publications(model_id)
        own = [each for each in stated if each.publisher == aggregator]
        if not own:
            raise
        return ModelFiles(model_id, own[-1].adapter_id, own[-1].opening_id)


def download(
    session: Session, files: ModelFiles, record: RecordedModel
) -> tuple[memoryview, memoryview]:
    """Return a model's adapter and openings, in the node's own store.

    The adapter's bytes are not compared with its id: `accept_files` does it in the pass in which it
    digests them.

    Args:
        session: The node's session.
        files: The files.
        record: What they are to hold, by the chain.
    """
    points = tuple(sorted({entry.point_hash for entry in record.entries}))
    Fetched(files.adapter_id, files.opening_id, points).save(session.journal)
    store = session.store
    if not store.has(files.adapter_id):
        _download_adapter(session, files.adapter_id, record)
    if not store.has(files.opening_id):
        limit = most_opening_bytes(session.parameters)
        session.client.download_into(store, files.opening_id, limit)
    return store.view(files.adapter_id, check=False), store.view(files.opening_id)


def _download_adapter(session: Session, adapter_id: str, record: RecordedModel) -> None:
    """Download what the node does not have of an adapter."""
    client, limit = session.client, most_adapter_bytes(session.parameters)
    held = held_blocks(session, adapter_id, record)
    try:
        client.download_into(session.store, adapter_id, limit, held.ranges, held.size)
    except WrongHash:
        if not held.ranges:
            raise
        structlog.get_logger().warning(
            "the model's file is not what the chain's record of its blocks suggests: all of it is "
            "fetched",
            model=record.model_id,
        )
        client.download_into(session.store, adapter_id, limit)
    else:
        reused = sum(len(each.data) for each in held.ranges)
        structlog.get_logger().info(
            "adapter fetched", model=record.model_id, bytes=held.size, reused=reused
        )


def fetch(session: Session, artifact_id: str) -> dict[str, Any]:
    """Return an adapter or a sum from the node's own store, or else from the aggregator."""
    if not artifact_id:
        return {}
    if not session.store.has(artifact_id):
        limit = most_adapter_bytes(session.parameters)
        session.client.download_into(session.store, artifact_id, limit)
    return session.store.load(artifact_id)
