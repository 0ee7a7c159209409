"""What an organization posts instead of data: statistics of its data under a block, with their bytes.

A Fisher has the block's trainable tensors' shapes; moments have one (rank, rank) matrix a module. The
bytes are safetensors in one encoding only: names sorted, one metadata entry whose value is canonical
JSON; the id is their SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rescind.core import (
    HIDING,
    ArtifactMalformed,
    ArtifactTooLarge,
    ConsortiumParameters,
    FloatTensors,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.delta import NotFinite, OutOfBounds, WrongShape
from rescind.core.errors import ArtifactError, DataError

Kind = Literal["fisher", "moments"]
Arrays = Mapping[str, NDArray[Any]]
_FORMAT = "rescind.statistics/1"
_DTYPES: Mapping[str, Any] = {"fisher": np.float32, "moments": np.float64}
_FIELDS = ("base_model_id", "count", "kind", "measure", "owner", "point")


class PostedMismatch(ArtifactError):
    """Posted statistics are of another base model, block, point or measure than is asked for."""

    code = "posted-mismatch"


@dataclass(frozen=True, eq=False)
class Posted:
    """Means over an organization's data, measured under one block.

    `count`: over how many (pairs for a Fisher, tokens for moments). `measure`: what exactly was
    measured; only equal ones combine. `point`: `point_id` of the tensors it was measured at.
    `tensors`: float32 by tensor name (fisher), float64 by module name (moments).
    """

    kind: Kind
    base_model_id: str
    owner: str
    point: str
    measure: str
    count: int
    tensors: Arrays

    def encode(self) -> bytes:
        """Raises as `check_values`."""
        check_values(self)
        header = {name: getattr(self, name) for name in _FIELDS}
        text = canonical_json(header).decode()
        dtype = _DTYPES[self.kind]
        ordered = {
            name: np.array(self.tensors[name], dtype=dtype, order="C", copy=True)
            for name in sorted(self.tensors)
        }
        return safetensors.numpy.save(ordered, metadata={_FORMAT: text})

    @property
    def id(self) -> str:
        """SHA-256 of the bytes, lowercase hexadecimal."""
        return hashlib.sha256(self.encode()).hexdigest()


def decode(data: bytes, *, max_bytes: int | None = None) -> Posted:
    """Raises ArtifactTooLarge, ArtifactMalformed (also for another encoding), and as `check_values`."""
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtifactTooLarge(
            f"posted statistics of {len(data)} bytes are larger than the {max_bytes} allowed"
        )
    try:
        tensors = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        fields = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_FORMAT])
        posted = Posted(tensors=tensors, **fields)
        known = posted.kind in _DTYPES and all(isinstance(v, str | int) for v in fields.values())
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactMalformed(f"not {_FORMAT} in safetensors: {error}") from error
    if not known:
        raise ArtifactMalformed(f"posted statistics have the unknown kind {posted.kind!r}")
    if posted.encode() != data:
        raise ArtifactMalformed("posted statistics are not in canonical form: use Posted.encode")
    return posted


def check_values(posted: Posted) -> None:
    """Raises NotFinite, OutOfBounds (a negative Fisher, indefinite moments, no data), WrongShape."""
    if not isinstance(posted.count, int) or posted.count < 1:
        raise OutOfBounds(f"posted count is {posted.count!r}: statistics are of at least one item")
    for name, value in posted.tensors.items():
        if not np.isfinite(value).all():
            raise NotFinite(f"posted {posted.kind} of {name!r} has NaN or infinite values")
        if posted.kind == "fisher":
            if value.size and value.min() < 0:
                raise OutOfBounds(f"posted fisher of {name!r} is negative: squares cannot be")
            continue
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            raise WrongShape(f"posted moments of {name!r} have shape {value.shape}: not square")
        if not np.array_equal(value, value.T):
            raise OutOfBounds(f"posted moments of {name!r} are not symmetric")
        if np.linalg.eigvalsh(value)[0] < -1e-9 * max(np.trace(value), 0.0):
            raise OutOfBounds(f"posted moments of {name!r} have a negative eigenvalue")


def check_posted(
    posted: Posted,
    *,
    kind: Kind,
    parameters: ConsortiumParameters,
    owner: str,
    measure: str,
    point: str | None = None,
) -> None:
    """That `posted` is for this block. Raises PostedMismatch, WrongShape, and as `check_values`."""
    wanted = {
        "kind": kind,
        "base_model_id": parameters.base_model_id,
        "owner": owner,
        "measure": measure,
        **({} if point is None else {"point": point}),
    }
    for field, value in wanted.items():
        found = getattr(posted, field)
        if found != value:
            raise PostedMismatch(
                f"posted {posted.kind} has {field} {found!r}, expected {value!r}: "
                "ask the organization to measure it again"
            )
    shapes = expected_shapes(kind, parameters)
    if {name: value.shape for name, value in posted.tensors.items()} != shapes:
        odd = next(
            name
            for name in sorted({*posted.tensors, *shapes})
            if name not in posted.tensors or posted.tensors[name].shape != shapes.get(name)
        )
        found_shape = posted.tensors[odd].shape if odd in posted.tensors else None
        raise WrongShape(
            f"posted {kind} of {odd!r} has shape {found_shape}, expected {shapes.get(odd)}"
        )
    check_values(posted)


def expected_shapes(kind: Kind, parameters: ConsortiumParameters) -> dict[str, tuple[int, ...]]:
    if kind == "fisher":
        return {n: tuple(s) for n, s in parameters.delta_shapes().items() if n != HIDING}
    rank = parameters.lora.rank
    return dict.fromkeys(modules(parameters.shapes), (rank, rank))


def modules(names: Mapping[str, object]) -> list[str]:
    """Modules that LoRA changes, from tensor names."""
    return sorted({n.removesuffix(".lora_A") for n in names if n.endswith(".lora_A")})


def combine(parts: Sequence[Posted]) -> Posted:
    """The statistics of all the data together: I = sum n_k I_k / n, in float64, in order of ids.

    The parts must agree in base model, block and measure; the point is "" where theirs differ (then a
    Fisher is approximate). Raises DataError for no part, PostedMismatch, WrongShape.
    """
    if not parts:
        raise DataError("no posted statistics to combine: name at least one organization's")
    first = parts[0]
    for part in parts[1:]:
        for field in ("kind", "base_model_id", "owner", "measure"):
            if getattr(part, field) != getattr(first, field):
                raise PostedMismatch(
                    f"posted statistics differ in {field}: {getattr(first, field)!r} and "
                    f"{getattr(part, field)!r} do not combine"
                )
        shapes = [{n: v.shape for n, v in p.tensors.items()} for p in (first, part)]
        if shapes[0] != shapes[1]:
            raise WrongShape("posted statistics differ in names or shapes and do not combine")
    total = sum(part.count for part in parts)
    ordered = sorted(parts, key=lambda part: part.id)
    tensors = {
        name: sum(
            (part.tensors[name].astype(np.float64) * part.count for part in ordered),
            np.zeros(first.tensors[name].shape),
        )
        / total
        for name in sorted(first.tensors)
    }
    point = first.point if len({part.point for part in parts}) == 1 else ""
    return Posted(
        first.kind, first.base_model_id, first.owner, point, first.measure, total, tensors
    )


def point_id(tensors: FloatTensors, *, only_a: bool = False) -> str:
    """SHA-256 of the tensors' canonical safetensors bytes; of the A tensors alone for moments."""
    chosen = {
        name: np.array(tensors[name], dtype=np.float32, order="C", copy=True)
        for name in sorted(tensors)
        if name.endswith(".lora_A") or not only_a
    }
    return hashlib.sha256(safetensors.numpy.save(chosen)).hexdigest()
