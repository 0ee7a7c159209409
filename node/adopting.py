"""The adoption of a model: download its adapter and check it."""

from __future__ import annotations

from typing import Any

import numpy as np

from rescind.contracts import NO_ADAPTER
from rescind.core import ArtifactMalformed, block, owner, split_owner
from rescind.node.facts import AdoptedModel
from rescind.node.rounds import own_totals
from rescind.node.session import Session
from rescind.node.watch import check_adapter


def adopt(session: Session, model_id: int) -> None:
    """Download a model's adapter, check it, and record that the node holds it.

    Its digest is checked against the chain, its tensors against the agreed ones and, in blocks, the
    node's own block against the node's own deltas.

    Raises:
        ArtifactWrongDigest: It is not the registered sum.
        ArtifactMalformed: Its tensors are not the agreed ones, or the node's block is wrong.
        OutOfBounds: Its norm is above the bound under which a digest binds.
    """
    adapter_id = session.consortium.model(model_id).adapter_id
    if adapter_id != NO_ADAPTER:
        if not session.store.has(adapter_id):
            data = session.client.download(adapter_id, session.parameters.max_artifact_bytes)
            session.store.put(data)
        tensors = session.store.load(adapter_id)
        _check_tensors(session, model_id, tensors)
        check_adapter(session.consortium, session.parameters, model_id, tensors)
    AdoptedModel(model_id, adapter_id).save(session.journal)


def _check_tensors(session: Session, model_id: int, tensors: dict[str, Any]) -> None:
    shapes = session.parameters.delta_shapes()
    for name, value in tensors.items():
        bare = split_owner(name)[1]
        if shapes.get(bare) != value.shape or value.dtype != np.int64:
            raise ArtifactMalformed(f"model {model_id}: tensor {name!r} is not one agreed on")
    if session.parameters.layout == "blocks":
        _check_own_block(session, model_id, tensors)


def _check_own_block(session: Session, model_id: int, tensors: dict[str, Any]) -> None:
    prefix = owner("blocks", session.me)
    served, expected = block(tensors, prefix), block(own_totals(session, model_id), prefix)
    if served.keys() != expected.keys() or any(
        not np.array_equal(served[name], expected[name]) for name in served
    ):
        raise ArtifactMalformed(
            f"model {model_id}: the block of {session.me} is not the sum of its own deltas"
        )
