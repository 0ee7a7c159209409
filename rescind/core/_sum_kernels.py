"""The weighted sum of integer tensors, in numba.

A sum is bound by memory: the loops below read each value once. `combine` takes eight inputs at
once, so that the total is written once and read never; the eight products are added up in
registers. Values are split over threads in contiguous ranges, one task a thread.

Threads are Python's over kernels that release the GIL, for the reason in `_ntt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from rescind.core._ntt import _compiled, threads

BATCH = 8
"""Inputs that one kernel call adds up. With more, the processor prefetches fewer of them well."""
_PARALLEL_FROM = 2**18
"""Values from which a second thread pays for its start."""


def _constant(dtype: Any) -> Any:
    return types.Array(dtype, 1, "C", readonly=True)


_TOTAL = types.Array(types.int64, 1, "C")
_COMBINE = types.void(
    _TOTAL, types.boolean, _constant(types.int64), *[_constant(types.int32)] * BATCH
)


@_compiled([_COMBINE])
def combine(
    total: NDArray[np.int64],
    begin: bool,
    w: NDArray[np.int64],
    a: NDArray[np.int32],
    b: NDArray[np.int32],
    c: NDArray[np.int32],
    d: NDArray[np.int32],
    e: NDArray[np.int32],
    f: NDArray[np.int32],
    g: NDArray[np.int32],
    h: NDArray[np.int32],
) -> None:
    """Set total to the sum of the inputs a to h by the weights w, or if not `begin` add it."""
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    if begin:
        for j in range(total.size):
            total[j] = (a[j] * w0 + b[j] * w1 + c[j] * w2 + d[j] * w3) + (
                e[j] * w4 + f[j] * w5 + g[j] * w6 + h[j] * w7
            )
        return
    for j in range(total.size):
        total[j] += (a[j] * w0 + b[j] * w1 + c[j] * w2 + d[j] * w3) + (
            e[j] * w4 + f[j] * w5 + g[j] * w6 + h[j] * w7
        )


@_compiled(
    [
        types.void(_TOTAL, types.int64, _constant(types.int32)),
        types.void(_TOTAL, types.int64, _constant(types.int64)),
    ]
)
def add(total: NDArray[np.int64], weight: int, values: NDArray[Any]) -> None:
    """Add weight x values to total."""
    for j in range(total.size):
        total[j] += values[j] * weight


@dataclass(frozen=True)
class Sum:
    """A weighted sum of flat arrays of one length.

    Attributes:
        total: Where the sum goes.
        inputs: The arrays, int32 or int64.
        weights: A weight for each.
        begin: Whether the total is to be set; otherwise the sum is added to it.
    """

    total: NDArray[np.int64]
    inputs: Sequence[NDArray[Any]]
    weights: Sequence[int]
    begin: bool


def run(sums: Sequence[Sum]) -> None:
    """Compute sums. No result may exceed 64 bits: the caller has checked it."""
    values = sum(each.total.size for each in sums)
    workers = threads() if values >= _PARALLEL_FROM else 1
    if workers == 1:
        _work(sums, 0, values)
        return
    edges = [values * n // workers for n in range(workers + 1)]
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(_work, sums, edges[n], edges[n + 1]) for n in range(1, workers)]
        _work(sums, 0, edges[1])
        for other in others:
            other.result()


def _work(sums: Sequence[Sum], first: int, last: int) -> None:
    """Compute values first to last of all sums, counted through."""
    begin = 0
    for each in sums:
        end = begin + each.total.size
        low, high = max(first, begin) - begin, min(last, end) - begin
        if low < high:
            _compute(each, slice(low, high))
        begin = end


def _compute(each: Sum, where: slice) -> None:
    total, begin = each.total[where], each.begin
    inputs = [values[where] for values in each.inputs]
    batches = 0
    if all(values.dtype == np.int32 for values in inputs):
        batches = len(inputs) // BATCH
    weights = np.array(each.weights, dtype=np.int64)
    for n in range(batches):
        these = slice(BATCH * n, BATCH * (n + 1))
        combine(total, begin, weights[these], *inputs[these])
        begin = False
    if begin:
        total[:] = 0
    for values, weight in zip(
        inputs[BATCH * batches :], each.weights[BATCH * batches :], strict=True
    ):
        add(total, weight, values)
