"""Weighted sums of integer tensors, exact in 64 bits and the same integers in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import IntTensors, SumOverflow, Totals, WrongShape

_INT64_MAX = 2**63 - 1
_INT32_LARGEST = 2**31
_USUAL_WEIGHT = 2**17
"""Up to here an int32 tensor is not searched for its largest value: 32,767 terms of such a weight
and of the largest values there are still fit 64 bits. Weights in basis points are at most 10,000."""

_Flat = NDArray[Any]


def weighted_sum(terms: Iterable[tuple[IntTensors, int]]) -> dict[str, NDArray[np.int64]]:
    """Return the sum of weight x delta by tensor name, exact in int64.

    Terms of a list or tuple are added up eight at a time, which is fastest. Other terms are taken
    one at a time, so that no more than one of them is in memory.

    Raises:
        SumOverflow: The sum may not fit 64 bits.
        WrongShape: A tensor has different shapes in two terms.
    """
    running = RunningSum()
    if isinstance(terms, list | tuple):
        running.add(terms)
    else:
        for term in terms:
            running.add([term])
            # Or the loop would hold this term while the next one is loaded.
            del term
    return running.totals()


def add_totals(parts: Iterable[Totals]) -> dict[str, NDArray[np.int64]]:
    """Return the elementwise sum by tensor name, exact in int64.

    Raises:
        SumOverflow: The sum may not fit 64 bits.
        WrongShape: A tensor has different shapes in two parts.
    """
    running = RunningSum()
    for part in parts:
        running.add([(part, 1)])
    return running.totals()


class RunningSum:
    """A weighted sum of deltas that is added up in pieces. It holds the total and no delta."""

    def __init__(self) -> None:
        self._totals: dict[str, _Flat] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._bounds: dict[str, int] = {}

    def add(self, terms: Sequence[tuple[Mapping[str, NDArray[Any]], int]]) -> None:
        """Add weight x delta for each term.

        Raises:
            SumOverflow: The sum may not fit 64 bits.
            WrongShape: A tensor has different shapes in two terms.
        """
        # numba takes most of a second to import, and most importers of the core sum nothing.
        from rescind.core import _sum_kernels

        inputs: dict[str, list[_Flat]] = {}
        weights: dict[str, list[int]] = {}
        for delta, weight in terms:
            for name, value in delta.items():
                self._check(name, value, weight)
                inputs.setdefault(name, []).append(_flat(value))
                weights.setdefault(name, []).append(weight)
        new = {name: values[0].size for name, values in inputs.items() if name not in self._totals}
        self._totals |= _allocated(new)
        _sum_kernels.run(
            [
                _sum_kernels.Sum(self._totals[name], values, weights[name], name in new)
                for name, values in inputs.items()
            ]
        )

    def totals(self) -> dict[str, NDArray[np.int64]]:
        """Return the sum by tensor name, sorted."""
        return {
            name: self._totals[name].reshape(self._shapes[name]) for name in sorted(self._totals)
        }

    def _check(self, name: str, value: NDArray[Any], weight: int) -> None:
        # A bound over all terms so far: a sum within it cannot wrap, in whatever order it is taken.
        bound = self._bounds.get(name, 0) + _largest(value, weight) * abs(weight)
        if bound > _INT64_MAX:
            raise SumOverflow(
                f"the sum of {name!r} may exceed 64 bits: sum fewer rounds or lower the weights"
            )
        shape = self._shapes.setdefault(name, value.shape)
        if shape != value.shape:
            raise WrongShape(
                f"tensor {name!r} has shape {value.shape} in one term and {shape} in another"
            )
        self._bounds[name] = bound


def _largest(value: NDArray[Any], weight: int) -> int:
    """Return a bound of the tensor's absolute values: the exact one where it may matter."""
    if not value.size:
        return 0
    if value.dtype == np.int32 and abs(weight) <= _USUAL_WEIGHT:
        return _INT32_LARGEST
    return max(int(value.max()), -int(value.min()))


def _allocated(sizes: Mapping[str, int]) -> dict[str, _Flat]:
    """Return arrays in one piece of memory: the system maps a large one in large pages."""
    memory, begin, arrays = np.empty(sum(sizes.values()), dtype=np.int64), 0, {}
    for name, size in sizes.items():
        arrays[name] = memory[begin : begin + size]
        begin += size
    return arrays


def _flat(value: NDArray[Any]) -> _Flat:
    dtype = value.dtype if value.dtype == np.int32 else np.int64
    return np.require(value, dtype=dtype, requirements=["C", "A"]).reshape(-1)
