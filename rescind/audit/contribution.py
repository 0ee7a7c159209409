"""Check of one contribution: its artifact against the agreement and its registered point."""

from __future__ import annotations

from rescind.contracts import Contribution
from rescind.core import ConsortiumParameters, expected_delta, scan
from rescind.core.contributed import check_contributed
from rescind.core.errors import RescindError, VerificationError
from rescind.core.mapped import Bytes


def check_contribution(
    data: Bytes, contribution: Contribution, parameters: ConsortiumParameters, part: int = 0
) -> None:
    """Check that an artifact has the agreed tensors and values, and opens its registered point.

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
    expected = expected_delta(parameters, contribution.organization, part)
    try:
        scanned = scan(data, max_bytes=parameters.artifact_limits.upload, expected=expected)
        tensors = scanned.header.views(data)
        check_contributed(tensors, parameters, part, contribution.member_number)
        registered = scanned.point_hash
    except RescindError as error:
        raise VerificationError(f"{where}: {error}") from error
    if registered != contribution.parts.point_hashes[part]:
        raise VerificationError(f"{where} does not open the point that was registered for it")
