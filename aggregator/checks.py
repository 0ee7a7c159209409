"""Whether a revealed update may be summed, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.aggregator.proof import Digests
from rescind.contracts import RejectReason
from rescind.core import (
    ArtifactStore,
    ArtifactTooLarge,
    ArtifactWrongType,
    ConsortiumParameters,
    OutOfBounds,
    WrongShape,
    check_delta,
    decode,
    is_hiding,
    owner,
    qualify,
)
from rescind.core.errors import ArtifactError, StoreError

_REASONS: tuple[tuple[type[ArtifactError], RejectReason], ...] = (
    (ArtifactTooLarge, RejectReason.TOO_LARGE),
    (ArtifactWrongType, RejectReason.WRONG_TYPE),
    (WrongShape, RejectReason.WRONG_SHAPE),
    (OutOfBounds, RejectReason.OUT_OF_BOUNDS),
)


@dataclass(frozen=True)
class Verdict:
    """`delta` is set when it may be summed, else `reason` and `what`."""

    delta: Mapping[str, Any] | None = None
    reason: RejectReason | None = None
    what: str = ""


def judge(
    organization: str,
    artifact_id: str,
    store: ArtifactStore,
    digests: Digests,
    parameters: ConsortiumParameters,
    *,
    submitted: bool,
    digest_root: str,
    round_id: int = 0,
) -> Verdict:
    """`round_id`: 0 for a counter-delta, which may change everything that is trained."""
    if not submitted:
        return Verdict(reason=RejectReason.MISSING, what=f"artifact {artifact_id} was not uploaded")
    who = owner(parameters.layout, organization)
    shapes = {qualify(who, name): shape for name, shape in parameters.delta_shapes().items()}
    try:
        delta = decode(store.get(artifact_id), max_bytes=parameters.max_artifact_bytes)
        check_delta(
            delta, shapes, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm
        )
    except ArtifactError as error:
        reason = next(
            (r for kind, r in _REASONS if isinstance(error, kind)), RejectReason.MALFORMED
        )
        return Verdict(reason=reason, what=str(error))
    except StoreError as error:
        return Verdict(reason=RejectReason.WRONG_HASH, what=str(error))
    still = parameters.frozen_in(round_id) if round_id else ()
    moved = [name for name in still if delta[qualify(who, name)].any()]
    if moved:
        what = f"{sorted(moved)[0]!r} changes in round {round_id}, where it is frozen"
        return Verdict(reason=RejectReason.WRONG_SHAPE, what=what)
    if not any(value.any() for name, value in delta.items() if not is_hiding(name)):
        return Verdict(reason=RejectReason.ZERO, what="every value of the delta is zero")
    found = digests.of(artifact_id).root
    if found != digest_root:
        what = f"the delta's digest has root {found}, registered is {digest_root}"
        return Verdict(reason=RejectReason.WRONG_DIGEST, what=what)
    return Verdict(delta=delta)
