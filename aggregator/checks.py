"""The check of a revealed update before it is summed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rescind.aggregator.digests import Digests
from rescind.contracts import RejectReason
from rescind.core import (
    ArtifactStore,
    ArtifactTooLarge,
    ArtifactWrongType,
    ConsortiumParameters,
    OutOfBounds,
    WrongShape,
    expected_delta,
    is_hiding,
    owner,
    qualify,
    split_owner,
)
from rescind.core.contributed import check_contributed
from rescind.core.errors import ArtifactError, StoreError

_REASONS: tuple[tuple[type[ArtifactError], RejectReason], ...] = (
    (ArtifactTooLarge, RejectReason.TOO_LARGE),
    (ArtifactWrongType, RejectReason.WRONG_TYPE),
    (WrongShape, RejectReason.WRONG_SHAPE),
    (OutOfBounds, RejectReason.OUT_OF_BOUNDS),
)
"""The rejection for each error; MALFORMED for any other."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check.

    Attributes:
        artifact_id: Id of the delta; the delta itself is in the store.
        reason: The rejection as it is recorded on chain; None if the delta is accepted.
        what: The rejection in words, for incidents and logs.
        empty: Whether the artifact says nothing: a delta that changes nothing, statistics of no rows.
    """

    artifact_id: str = ""
    reason: RejectReason | None = None
    what: str = ""
    empty: bool = False

    @property
    def accepted(self) -> bool:
        """True if the delta may be summed."""
        return self.reason is None


def judge(
    organization: str,
    artifact_id: str,
    store: ArtifactStore,
    digests: Digests,
    parameters: ConsortiumParameters,
    *,
    submitted: bool,
    point_hash: str,
    member: int,
    round_id: int = 0,
    part: int = 0,
) -> Verdict:
    """Check one part of a contribution against the agreed parameters and its registered point.

    Args:
        organization: EIP-55 address of the organization that registered it.
        artifact_id: Id of the artifact as registered.
        store: Where the uploaded artifact is.
        digests: Digests of the artifacts in `store`.
        parameters: What the consortium agreed on: shapes, bounds, frozen tensors, tasks.
        submitted: Whether the organization submitted the artifact.
        point_hash: Hash of the registered point, which commits to the artifact's digest.
        round_id: Round of a delta; 0 for a counter-delta, which may change all trained tensors.
        part: Its part of the contribution.
        member: The organization's member number, which says where its terms of a router may be.

    Returns:
        That the artifact is accepted, or why it is rejected. The bytes are read, hashed and
        digested in one pass, and not kept.
    """
    if not submitted:
        return Verdict(reason=RejectReason.MISSING, what=f"artifact {artifact_id} was not uploaded")
    try:
        delta, scanned = store.load_scanned(
            artifact_id,
            max_bytes=parameters.artifact_limits.upload,
            expected=expected_delta(parameters, organization, part),
        )
        check_contributed(delta, parameters, part, member)
    except ArtifactError as error:
        reason = next(
            (r for kind, r in _REASONS if isinstance(error, kind)), RejectReason.MALFORMED
        )
        return Verdict(reason=reason, what=str(error))
    except StoreError as error:
        return Verdict(reason=RejectReason.WRONG_HASH, what=str(error))
    digests.learn(scanned)
    if part == 0:
        block_owner = owner(parameters.layout, organization)
        frozen = parameters.frozen_in(round_id) if round_id else ()
        refused = _unusable(delta, [qualify(block_owner, name) for name in frozen], round_id)
        if refused is not None:
            return refused
    empty = not any(value.any() for name, value in delta.items() if not is_hiding(name))
    if empty and len(parameters.parts) == 1:
        return Verdict(reason=RejectReason.ZERO, what="every value of the delta is zero")
    own = scanned.point_hash
    if own != point_hash:
        what = f"the artifact's commitment has hash {own}, registered on chain is {point_hash}"
        return Verdict(reason=RejectReason.WRONG_DIGEST, what=what)
    return Verdict(artifact_id, empty=empty)


def _unusable(delta: Mapping[str, Any], frozen: Iterable[str], round_id: int) -> Verdict | None:
    """Return the rejection of a delta that changes a tensor that is frozen; else None."""
    changed = [name for name in frozen if delta[name].any()]
    if changed:
        bare = split_owner(min(changed))[1]
        what = f"tensor {bare!r} changes in round {round_id}, in which it is frozen"
        return Verdict(reason=RejectReason.WRONG_SHAPE, what=what)
    return None
