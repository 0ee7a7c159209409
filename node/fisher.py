"""Fisher information that is posted with an update, and its mean over all members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rescind.core import FloatTensors, owner
from rescind.core.errors import ArtifactError
from rescind.core.posted import Posted, decode, expected_shapes
from rescind.node.session import Session
from rescind.wire import BadMessage, fisher_typed_data, sign_typed

if TYPE_CHECKING:
    from rescind.training import Example


def measure(session: Session, tensors: FloatTensors, examples: Sequence[Example]) -> str:
    """Measure the Fisher information at the trained block, store it, and return its artifact id."""
    from rescind.unlearning.closed_form import fisher_of_block

    parameters = session.parameters
    prefix = owner(parameters.layout, session.me)
    posted = fisher_of_block(session.model, parameters, prefix, tensors, examples)
    return session.store.put(posted.encode())


def post(session: Session, round_id: int, artifact: str) -> None:
    """Upload the Fisher information of a round, signed."""
    data = session.store.view(artifact)
    document = fisher_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        round_id=round_id,
        artifact_id=artifact,
        size=len(data),
    )
    sent = session.client.upload(data, artifact_id=artifact)
    session.client.post_fisher(round_id, sent, sign_typed(document, session.account.key))


def of_all(session: Session, model_id: int) -> Posted:
    """Return the mean Fisher information over the members whose deltas are in a model.

    Raises:
        BadMessage: The aggregator's answer is not Fisher information.
    """
    artifact = session.client.fisher(model_id)
    limit = session.parameters.artifact_limits.fisher
    try:
        shapes = expected_shapes("fisher", session.parameters)
        return decode(session.client.download(artifact, limit), max_bytes=limit, shapes=shapes)
    except ArtifactError as error:
        raise BadMessage(
            f"the aggregator's artifact {artifact} is not Fisher information: {error}"
        ) from error
