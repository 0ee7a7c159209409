"""Check of one contribution: its artifact against the agreement and its registered point."""

from __future__ import annotations

from rescind.contracts import Contribution
from rescind.core import (
    ConsortiumParameters,
    check_delta,
    commit,
    decode,
    digest,
    owner,
    point_hash,
    qualify,
)
from rescind.core.errors import RescindError, VerificationError


def check_contribution(
    data: bytes, contribution: Contribution, parameters: ConsortiumParameters, part: int = 0
) -> None:
    """Check that an artifact is short, has its owner's tensors and opens its registered point.

    Args:
        data: The artifact.
        contribution: What its organization registered.
        parameters: The agreed parameters.
        part: Which part of the contribution the artifact is.

    Raises:
        VerificationError: It is not; the message names round and organization.
    """
    where = (
        f"the contribution of {contribution.organization} to round {contribution.round_id}"
        if contribution.round_id
        else f"the counter-delta of {contribution.organization}"
    )
    name = owner(parameters.layout, contribution.organization)
    shapes = {qualify(name, bare): shape for bare, shape in parameters.delta_shapes().items()}
    try:
        delta = decode(data)
        check_delta(
            delta,
            shapes,
            fraction_bits=parameters.fraction_bits,
            clip_norm=parameters.clip_norm,
        )
        registered = point_hash(commit(digest(delta)))
    except RescindError as error:
        raise VerificationError(f"{where}: {error}") from error
    if registered != contribution.parts.point_hashes[part]:
        raise VerificationError(f"{where} does not open the point that was registered for it")
