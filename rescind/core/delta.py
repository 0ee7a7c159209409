"""Deltas as integers: quantized once, at the node, and summed exactly from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ArtifactError
from rescind.core.hiding import HIDING_BOUND, is_hiding

WEIGHT_ONE = 10_000
"""A whole share, in basis points."""

IntTensors = Mapping[str, NDArray[np.int32]]
Totals = Mapping[str, NDArray[np.int64]]
FloatTensors = Mapping[str, NDArray[np.float32]]

_INT32_MAX = 2**31 - 1
_INT32 = np.dtype(np.int32)


class NotFinite(ArtifactError):
    """A tensor has NaN or infinite values."""

    code = "artifact-not-finite"


class WrongShape(ArtifactError):
    """A tensor is missing, unexpected, or has the wrong shape or dtype."""

    code = "artifact-wrong-shape"


class OutOfBounds(ArtifactError):
    """A tensor is larger than its bound."""

    code = "artifact-out-of-bounds"


class SumOverflow(ArtifactError):
    """A sum may not fit 64 bits."""

    code = "artifact-sum-overflow"


@dataclass(frozen=True)
class Quantized:
    """A quantized update.

    Attributes:
        delta: The integers.
        residual: What rounding lost, in parameter units.
        norm: The L2 norm before clipping, in parameter units.
        clipped: Whether the norm was over the bound.
    """

    delta: dict[str, NDArray[np.int32]]
    residual: dict[str, NDArray[np.float64]]
    norm: float
    clipped: bool


def l2_norm(tensors: Mapping[str, NDArray[Any]]) -> float:
    """Return the L2 norm over all tensors together, in float64 and in the order of the names."""
    total = sum(
        float(np.sum(np.square(tensors[name], dtype=np.float64))) for name in sorted(tensors)
    )
    return float(np.sqrt(total))


def quantize(
    update: Mapping[str, NDArray[Any]],
    residual: Mapping[str, NDArray[np.float64]] | None,
    *,
    fraction_bits: int,
    clip_norm: float,
) -> Quantized:
    """Clip an update, add the carried residual and round it to 2^-fraction_bits.

    The integers themselves stay within the bound: values are truncated towards zero wherever
    rounding would carry the norm over it.

    Args:
        update: The change of the parameters, by tensor name.
        residual: What earlier roundings lost, by tensor name.
        fraction_bits: The fixed-point resolution.
        clip_norm: The bound of the L2 norm, in parameter units.

    Raises:
        NotFinite: The update has NaN or infinite values.
        OutOfBounds: A value does not fit 32 bits.
    """
    names = sorted(update)
    for name in names:
        if not np.all(np.isfinite(update[name])):
            raise NotFinite(
                f"the update of {name!r} has NaN or infinite values: training diverged; "
                "lower the learning rate"
            )
    # Each step is computed again where it is needed: float64 of everything at once would be four
    # times the memory of the update.
    exact = _Computed(names, lambda name: _carried(update[name], (residual or {}).get(name)))
    norm = l2_norm(exact)
    clipped = norm > clip_norm
    scale = float(2**fraction_bits)
    factor = (clip_norm / norm if clipped else 1.0) * scale
    rounding: np.ufunc = np.rint
    if l2_norm(_Computed(names, lambda name: np.rint(exact[name] * factor))) > clip_norm * scale:
        rounding = np.trunc
    delta, lost = dict[str, NDArray[np.int32]](), dict[str, NDArray[np.float64]]()
    for name in names:
        scaled = exact[name] * factor
        integers = rounding(scaled)
        if integers.size and np.max(np.abs(integers)) > _INT32_MAX:
            raise OutOfBounds(
                f"the update of {name!r} does not fit 32 bits at {fraction_bits} fraction bits; "
                "lower fraction_bits or clip_norm"
            )
        delta[name] = integers.astype(np.int32)
        lost[name] = (scaled - integers) / scale
    return Quantized(delta=delta, residual=lost, norm=norm, clipped=clipped)


def _carried(value: NDArray[Any], residual: NDArray[np.float64] | None) -> NDArray[np.float64]:
    exact = np.asarray(value, dtype=np.float64)
    return exact if residual is None else exact + residual


class _Computed(Mapping[str, NDArray[np.float64]]):
    """Tensors that are computed when they are asked for, and not kept."""

    def __init__(self, names: Sequence[str], compute: Callable[[str], NDArray[np.float64]]) -> None:
        self._names, self._compute = names, compute

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._compute(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def dequantize(total: Totals, *, fraction_bits: int) -> dict[str, NDArray[np.float32]]:
    """Return a weighted total in parameter units: total / (2^fraction_bits * 10,000)."""
    unit = float(2**fraction_bits) * WEIGHT_ONE
    return {name: (value / unit).astype(np.float32) for name, value in total.items()}


def check_tensors(
    tensors: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
    shapes: Mapping[str, tuple[int, ...]],
    wanted: np.dtype[Any] = _INT32,
) -> None:
    """Check that a contribution has exactly the agreed tensors.

    Args:
        tensors: Type and shape of each tensor, by name.
        shapes: The agreed shapes, by tensor name.
        wanted: The agreed type.

    Raises:
        WrongShape: A tensor is missing, unexpected, or has the wrong shape or dtype.
    """
    missing, extra = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing or extra:
        missed = f"is missing tensors {missing[:3]}" if missing else ""
        unexpected = f"has unexpected tensors {extra[:3]}" if extra else ""
        raise WrongShape(f"the contribution {' and '.join(filter(None, (missed, unexpected)))}")
    for name in sorted(shapes):
        dtype, shape = tensors[name]
        if dtype != wanted:
            raise WrongShape(f"tensor {name!r} has dtype {dtype}; it must be {wanted}")
        if tuple(shape) != tuple(shapes[name]):
            raise WrongShape(
                f"tensor {name!r} has shape {tuple(shape)}, expected {tuple(shapes[name])}"
            )


def check_delta(
    delta: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    fraction_bits: int,
    clip_norm: float,
) -> None:
    """Check that a delta has exactly the agreed tensors, is int32 and within the L2 bound.

    A hiding tensor has a bound of its own, HIDING_BOUND, and does not count towards `clip_norm`.

    Args:
        delta: The delta.
        shapes: The agreed shapes, by tensor name.
        fraction_bits: The fixed-point resolution.
        clip_norm: The bound of the L2 norm, in parameter units.

    Raises:
        WrongShape: A tensor is missing, unexpected, or has the wrong shape or dtype.
        OutOfBounds: The norm is over the bound.
    """
    check_tensors({name: (value.dtype, value.shape) for name, value in delta.items()}, shapes)
    check_norm(delta, fraction_bits=fraction_bits, clip_norm=clip_norm)


def check_norm(delta: Mapping[str, NDArray[Any]], *, fraction_bits: int, clip_norm: float) -> None:
    """Check that a delta with the agreed tensors is within the L2 bound; see `check_delta`.

    Raises:
        OutOfBounds: The norm is over the bound.
    """
    noise = {name: value for name, value in delta.items() if is_hiding(name)}
    if l2_norm(noise) > HIDING_BOUND:
        raise OutOfBounds(
            f"the hiding tensor has L2 norm {l2_norm(noise):.6g}, its bound is {HIDING_BOUND:.6g}; "
            "make it with rescind.core.hiding_block"
        )
    norm = l2_norm({name: value for name, value in delta.items() if name not in noise})
    bound = clip_norm * float(2**fraction_bits)
    if norm > bound:
        raise OutOfBounds(
            f"the delta has L2 norm {norm / 2**fraction_bits:.6g}, "
            f"the consortium's bound is {clip_norm:.6g}"
        )
