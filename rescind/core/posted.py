"""Statistics that an organization posts instead of data, measured under a block.

A Fisher has the shapes of the block's trainable tensors; moments have one (rank, rank) matrix for
each module. The bytes are safetensors in exactly one encoding: names sorted, and one metadata entry
whose value is canonical JSON. The id is their SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from rescind.core.artifact import check_file_size
from rescind.core.canonical_json import canonical_json
from rescind.core.delta import NotFinite, OutOfBounds, WrongShape
from rescind.core.errors import ArtifactError, DataError
from rescind.core.json_text import parse_json
from rescind.core.mapped import Bytes
from rescind.core.tensor_header import (
    LENGTH_BYTES,
    MOST_HEADER_BYTES,
    TensorSpec,
    header_size,
    most_header_bytes,
    read_header,
)

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

    Attributes:
        kind: "fisher" or "moments".
        base_model_id: The base model.
        owner: The owner of the block.
        point: `point_id` of the tensors at which it was measured.
        measure: What exactly was measured; only equal measures combine.
        count: The size of the data: pairs for a Fisher, tokens for moments.
        tensors: float32 by tensor name (fisher), float64 by module name (moments).
    """

    kind: Kind
    base_model_id: str
    owner: str
    point: str
    measure: str
    count: int
    tensors: Arrays

    def encode(self) -> bytes:
        """Return the canonical bytes; raise as `check_values`."""
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
        """The SHA-256 of the bytes, in lowercase hexadecimal."""
        return hashlib.sha256(self.encode()).hexdigest()


def decode(
    data: Bytes,
    *,
    max_bytes: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Posted:
    """Read canonical bytes.

    Args:
        data: The bytes.
        max_bytes: The largest size to accept; unlimited by default.
        shapes: The tensors to expect, by name: pass them wherever the bytes come from somebody
            else. Then a header that is much longer than theirs is not parsed.

    Raises:
        ArtifactTooLarge: There are more than `max_bytes`.
        ArtifactMalformed: They are not the canonical encoding.
        WrongShape: The tensors are not the expected ones.
        ArtifactError: As `check_values`.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtifactTooLarge(
            f"the posted statistics have {len(data)} bytes; at most {max_bytes} are allowed"
        )
    most = MOST_HEADER_BYTES
    if shapes is not None:
        specs = {name: TensorSpec("F64", tuple(shape)) for name, shape in shapes.items()}
        most = most_header_bytes(specs, {_FORMAT: ""})
    try:
        header = read_header(bytes(data[: header_size(bytes(data[:LENGTH_BYTES]), most)]))
    except ArtifactError as error:
        raise ArtifactMalformed(f"the bytes are not {_FORMAT} in safetensors: {error}") from error
    if shapes is not None:
        _check_shapes({name: spec.shape for name, spec in header.specs.items()}, shapes)
    check_file_size(header, len(data))
    try:
        tensors = header.views(data)
        fields = parse_json(header.metadata[_FORMAT])
        posted = Posted(tensors=tensors, **fields)
        valid = posted.kind in _DTYPES and all(isinstance(v, str | int) for v in fields.values())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactMalformed(f"the bytes are not {_FORMAT} in safetensors: {error}") from error
    if not valid:
        raise ArtifactMalformed(f"the posted statistics have the unknown kind {posted.kind!r}")
    check_values(posted)
    # The header is the canonical one of its tensors and metadata already.
    fields_text = canonical_json({name: getattr(posted, name) for name in _FIELDS}).decode()
    dtype = np.dtype(_DTYPES[posted.kind])
    if header.metadata != {_FORMAT: fields_text} or any(
        value.dtype != dtype for value in posted.tensors.values()
    ):
        raise ArtifactMalformed(
            "the posted statistics are not in canonical form: write them with Posted.encode"
        )
    return posted


def check_values(posted: Posted) -> None:
    """Check the values of statistics.

    Raises:
        NotFinite: A value is NaN or infinite. OutOfBounds: A Fisher is negative, moments are not
        positive semidefinite, or there is no data. WrongShape: Moments are not square.
    """
    if not isinstance(posted.count, int) or posted.count < 1:
        raise OutOfBounds(
            f"the posted count is {posted.count!r}: it must be a whole number of at least 1"
        )
    for name, value in posted.tensors.items():
        if not np.isfinite(value).all():
            raise NotFinite(f"the posted {posted.kind} of {name!r} has NaN or infinite values")
        if posted.kind == "fisher":
            if value.size and value.min() < 0:
                raise OutOfBounds(
                    f"the posted fisher of {name!r} is negative, but it is a mean of squares"
                )
            continue
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            raise WrongShape(
                f"the posted moments of {name!r} have shape {value.shape}: they must be square"
            )
        if not np.array_equal(value, value.T):
            raise OutOfBounds(f"the posted moments of {name!r} are not symmetric")
        # Rounding makes eigenvalues of a semidefinite matrix slightly negative.
        if np.linalg.eigvalsh(value)[0] < -1e-9 * max(np.trace(value), 0.0):
            raise OutOfBounds(f"the posted moments of {name!r} have a negative eigenvalue")


def check_posted(
    posted: Posted,
    *,
    kind: Kind,
    parameters: ConsortiumParameters,
    owner: str,
    measure: str,
    point: str | None = None,
) -> None:
    """Check that statistics are those of one block.

    Args:
        posted: The statistics.
        kind: The expected kind.
        parameters: The consortium's parameters.
        owner: The owner of the block.
        measure: The expected measure.
        point: The expected point; any point by default.

    Raises:
        PostedMismatch: A field differs.
        WrongShape: A tensor is missing, unexpected or has another shape.
        ArtifactError: As `check_values`.
    """
    wanted = {
        "kind": kind,
        "base_model_id": parameters.base_model_id,
        "owner": owner,
        "measure": measure,
        **({} if point is None else {"point": point}),
    }
    for field, value in wanted.items():
        actual = getattr(posted, field)
        if actual != value:
            raise PostedMismatch(
                f"the posted {posted.kind} has {field} {actual!r}, expected {value!r}: "
                "ask the organization to measure it again"
            )
    actual_shapes = {name: value.shape for name, value in posted.tensors.items()}
    _check_shapes(actual_shapes, expected_shapes(kind, parameters))
    check_values(posted)


def _check_shapes(
    actual: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    for name in sorted({*actual, *expected}):
        if name not in actual:
            raise WrongShape(f"the posted statistics lack the tensor {name!r}")
        if name not in expected:
            raise WrongShape(f"the posted statistics have a tensor {name!r} that is not agreed on")
        if actual[name] != expected[name]:
            raise WrongShape(
                f"the posted tensor {name!r} has shape {actual[name]}, expected {expected[name]}"
            )


def expected_shapes(kind: Kind, parameters: ConsortiumParameters) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a block's statistics, by tensor name or module name."""
    if kind == "fisher":
        return {n: tuple(s) for n, s in parameters.delta_shapes().items() if n != HIDING}
    rank = parameters.lora.rank
    return dict.fromkeys(modules(parameters.shapes), (rank, rank))


def modules(names: Mapping[str, object]) -> list[str]:
    """Return the modules that LoRA changes, from tensor names, sorted."""
    return sorted({n.removesuffix(".lora_A") for n in names if n.endswith(".lora_A")})


def combine(parts: Sequence[Posted]) -> Posted:
    """Combine statistics into those of all the data together: I = sum n_k I_k / n.

    The sum is taken in float64 and in the order of ids. The point is "" where the parts' points
    differ; then a Fisher is approximate.

    Raises:
        DataError: There is no part.
        PostedMismatch: The parts differ in kind, base model, owner or measure.
        WrongShape: The parts differ in names or shapes.
    """
    return _combined(sorted(parts, key=lambda part: part.id))


def combine_stored(ids: Iterable[str], load: Callable[[str], Posted]) -> Posted:
    """Combine stored statistics like `combine`, loading one at a time.

    Args:
        ids: Their ids.
        load: Returns the statistics with an id.
    """
    return _combined(load(each) for each in sorted(ids))


def _combined(ordered: Iterable[Posted]) -> Posted:
    first: Posted | None = None
    sums: dict[str, NDArray[np.float64]] = {}
    total, points = 0, set[str]()
    for part in ordered:
        if first is None:
            first = replace(part, tensors={})
            sums = {name: np.zeros(value.shape) for name, value in part.tensors.items()}
        _check_alike(first, part, {name: value.shape for name, value in sums.items()})
        for name, value in part.tensors.items():
            sums[name] += value.astype(np.float64) * part.count
        total += part.count
        points.add(part.point)
        del part
    if first is None:
        raise DataError("there are no posted statistics to combine: name at least one organization")
    tensors = {name: sums[name] / total for name in sorted(sums)}
    point = first.point if len(points) == 1 else ""
    return replace(first, point=point, count=total, tensors=tensors)


def _check_alike(first: Posted, part: Posted, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for field in ("kind", "base_model_id", "owner", "measure"):
        if getattr(part, field) != getattr(first, field):
            raise PostedMismatch(
                f"posted statistics differ in {field}: {getattr(first, field)!r} and "
                f"{getattr(part, field)!r} do not combine"
            )
    if shapes != {name: value.shape for name, value in part.tensors.items()}:
        raise WrongShape("posted statistics differ in names or shapes and do not combine")


def point_id(tensors: FloatTensors, *, only_a: bool = False) -> str:
    """Return the SHA-256 of the tensors' canonical safetensors bytes.

    Args:
        tensors: The tensors, by name.
        only_a: Hash the A tensors alone, as moments do.
    """
    chosen = {
        name: np.array(tensors[name], dtype=np.float32, order="C", copy=True)
        for name in sorted(tensors)
        if name.endswith(".lora_A") or not only_a
    }
    return hashlib.sha256(safetensors.numpy.save(chosen)).hexdigest()
