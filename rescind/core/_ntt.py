"""The number-theoretic transform of the linear digest, in numba.

Negacyclic Cooley-Tukey (Longa and Naehrig, CANS 2016) with Shoup's products and lazy reduction
(Harvey, J. Symb. Comp. 2014): values stay below 2p, which fits 32 bits. Seven layers run over
rows of 16 values; then the 128 x 16 matrix is transposed and the last four run over columns of
128, so that every inner loop is contiguous and becomes vector instructions. Both permutations
undo the bit reversal: slot i is the value at psi^(2i + 1).

Threads are Python's over kernels that release the GIL: numba's own thread pools end the process
when two threads enter them or when it forks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from rescind.core.ring import (
    DEGREE,
    PRIMES,
    ROOTS,
    WORDS,
    Matrix,
    blocks_of,
)

Words = NDArray[np.uint64]
Integers = NDArray[np.int32] | NDArray[np.int64]

ROW_BITS, COLUMN_BITS = 7, 4
ROWS, COLUMNS = 1 << ROW_BITS, 1 << COLUMN_BITS
CHUNK = 16
"""Blocks that one kernel call digests: 512 KiB of matrix, which stay in a core's L2 cache."""
_PARALLEL_FROM = 8 * CHUNK
"""Blocks from which threads pay for their start."""

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
P = np.array(PRIMES, dtype=np.uint64)
P_INVERSE = np.array([pow(prime, -1, 2**32) for prime in PRIMES], dtype=np.uint64)
R = np.array([2**32 % prime for prime in PRIMES], dtype=np.uint64)
"""2^32 modulo each prime, the Montgomery radix."""
R_SHOUP = np.array([(2**32 % prime << 32) // prime for prime in PRIMES], dtype=np.uint64)
"""Shoup's factors of R."""


def _reverse(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


ROW_ORDER = np.array([_reverse(row, ROW_BITS) for row in range(ROWS)])
COLUMN_ORDER = np.array([_reverse(column, COLUMN_BITS) for column in range(COLUMNS)])


def _compiled(signatures: Any = None) -> Callable[[Callable[..., Any]], Any]:
    """Compile once per machine if a cache folder can be written, otherwise once per process."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(signatures, nogil=True, cache=True)(function)
        except RuntimeError:
            return njit(signatures, nogil=True)(function)

    return decorate


@_compiled()
def _shrink(x: np.uint64, p: np.uint64) -> np.uint64:
    """Reduce [0, 4p) to [0, 2p): the subtraction wraps to a larger number where it is negative."""
    return min(x, x - np.uint64(2) * p)


@_compiled()
def _product(x: np.uint64, factor: np.uint64, shoup: np.uint64, p: np.uint64) -> np.uint64:
    """Return x factor mod p in [0, 2p), for x < 2^32, factor < p, shoup = floor(2^32 factor/p)."""
    return x * factor - ((x * shoup) >> HALF) * p


@_compiled()
def _montgomery(x: np.uint64, p: np.uint64, inverse: np.uint64) -> np.uint64:
    """Return x / 2^32 mod p, at most x / 2^32 + p."""
    return (x >> HALF) + p - ((((x & LOW) * inverse & LOW) * p) >> HALF)


@_compiled()
def _load(values: Integers, out: Words, i: int) -> None:
    """Reduce any signed 64-bit values to [0, 2p): low half + 2^32 high half."""
    p, r, shoup = P[i], R[i], R_SHOUP[i]
    for j in range(out.size):
        value = np.int64(values[j])
        low = _shrink(np.uint64(value) & LOW, p)
        high = _shrink(np.uint64((value >> 32) + np.int64(2 * p)), p)
        out[j] = _shrink(low + _product(high, r, shoup, p), p)


@_compiled()
def _butterflies(x: Words, y: Words, factor: np.uint64, shoup: np.uint64, p: np.uint64) -> None:
    """Run one Cooley-Tukey layer's butterflies that share a factor."""
    for j in range(x.size):
        t = _product(y[j], factor, shoup, p)
        y[j] = _shrink(x[j] + np.uint64(2) * p - t, p)
        x[j] = _shrink(x[j] + t, p)


@_compiled()
def _butterflies_by_row(x: Words, y: Words, factors: Words, shoups: Words, p: np.uint64) -> None:
    """Run butterflies with a factor for each value."""
    for j in range(x.size):
        t = _product(y[j], factors[j], shoups[j], p)
        y[j] = _shrink(x[j] + np.uint64(2) * p - t, p)
        x[j] = _shrink(x[j] + t, p)


@_compiled()
def _transform(line: Words, columns: Words, i: int, by_group: Words, by_row: Words) -> None:
    """Transform `line` (2048,), which is overwritten.

    Value 128c + j of the transform lands in columns[c', j], where c' is c with its four bits
    reversed.
    """
    p = P[i]
    group, length = 1, DEGREE // 2
    while length >= COLUMNS:
        for start in range(0, DEGREE, 2 * length):
            middle = start + length
            factor, shoup = by_group[i, 0, group], by_group[i, 1, group]
            _butterflies(line[start:middle], line[middle : middle + length], factor, shoup, p)
            group += 1
        length //= 2
    for row in range(ROWS):
        for column in range(COLUMNS):
            columns[column, ROW_ORDER[row]] = line[COLUMNS * row + column]
    group, length = 1, COLUMNS // 2
    while length >= 1:
        for start in range(0, COLUMNS, 2 * length):
            factors, shoups = by_row[i, 0, group], by_row[i, 1, group]
            for c in range(start, start + length):
                _butterflies_by_row(columns[c], columns[c + length], factors, shoups, p)
            group += 1
        length //= 2


@_compiled()
def _multiply_add(words: Words, values: Words, total: Words, i: int) -> None:
    """Add words values / 2^64 mod p to total. A term is below 2^32, so 2^32 terms fit."""
    p, inverse = P[i], P_INVERSE[i]
    for j in range(total.size):
        word = _shrink(_montgomery(words[j], p, inverse), p)
        total[j] += _montgomery(word * values[j], p, inverse)


def _signature(integer: Any) -> Any:
    def constant(dtype: Any, dimensions: int) -> Any:
        return types.Array(dtype, dimensions, "C", readonly=True)

    return types.void(
        constant(integer, 2),
        constant(types.uint64, 2),
        types.Array(types.uint64, 2, "C"),
        constant(types.uint64, 3),
        constant(types.uint64, 4),
    )


@_compiled([_signature(types.int32), _signature(types.int64)])
def accumulate(
    values: Integers, words: Words, totals: Words, by_group: Words, by_row: Words
) -> None:
    """Add sum over k of words[k] transform(values[k]) / 2^64 mod prime i to totals[i], lazily.

    Args:
        values: Shape (k, 2048).
        words: The matrix, shape (k, 4096).
        totals: Shape (2, 2048).
        by_group: As `_twiddles` returns.
        by_row: As `_twiddles` returns.
    """
    line = np.empty(DEGREE, np.uint64)
    columns = np.empty((COLUMNS, ROWS), np.uint64)
    for k in range(values.shape[0]):
        for i in range(2):
            _load(values[k], line, i)
            _transform(line, columns, i, by_group, by_row)
            for c in range(COLUMNS):
                at = ROWS * COLUMN_ORDER[c]
                own = words[k, DEGREE * i + at : DEGREE * i + at + ROWS]
                _multiply_add(own, columns[c], totals[i, at : at + ROWS], i)


@cache
def _twiddles() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return factors with their Shoup factors: (2, 2, 128) per group, (2, 2, 16, 128) per row."""
    by_group = np.zeros((2, 2, ROWS), dtype=np.uint64)
    by_row = np.zeros((2, 2, COLUMNS, ROWS), dtype=np.uint64)
    bits = ROW_BITS + COLUMN_BITS
    for i, (prime, root) in enumerate(zip(PRIMES, ROOTS, strict=True)):
        powers = [pow(root, _reverse(n, bits), prime) for n in range(DEGREE)]
        factors = np.array([(w, (w << 32) // prime) for w in powers], dtype=np.uint64).T
        by_group[i] = factors[:, :ROWS]
        for layer in range(COLUMN_BITS):
            groups = 1 << layer
            own = factors[:, ROWS * groups : 2 * ROWS * groups].reshape(2, ROWS, groups)
            by_row[i][:, groups : 2 * groups, ROW_ORDER] = own.transpose(0, 2, 1)
    return by_group, by_row


@dataclass(frozen=True)
class Job:
    """Blocks of a tensor: values (k, 2048), the first of them being block `first`."""

    matrix: Matrix
    first: int
    values: NDArray[Any]


def _jobs(tensors: Mapping[str, NDArray[Any]]) -> Iterator[Job]:
    for name, array in tensors.items():
        matrix = Matrix(name, array.shape)
        flat = np.require(array, requirements=["C", "A"]).reshape(-1)
        whole = flat.size // DEGREE
        blocks = flat[: whole * DEGREE].reshape(whole, DEGREE)
        for first in range(0, whole, CHUNK):
            yield Job(matrix, first, blocks[first : first + CHUNK])
        if flat.size % DEGREE:
            last = np.zeros((1, DEGREE), dtype=flat.dtype)
            last[0, : flat.size % DEGREE] = flat[whole * DEGREE :]
            yield Job(matrix, whole, last)


class OwnedTotals:
    """The lazy totals of what one thread has digested, apart for each owner of tensors."""

    def __init__(self) -> None:
        self.totals: dict[str, NDArray[np.uint64]] = {}
        self._buffer = np.empty((CHUNK, WORDS), dtype="<u8")

    def add(self, owner: str, job: Job) -> None:
        """Digest blocks of an owner."""
        if owner not in self.totals:
            self.totals[owner] = np.zeros((2, DEGREE), dtype=np.uint64)
        words = self._buffer[: len(job.values)]
        job.matrix.fill(job.first, words)
        accumulate(job.values, words, self.totals[owner], *_twiddles())


def merged(sums: Sequence[OwnedTotals]) -> dict[str, NDArray[np.uint64]]:
    """Return the (2, 2048) canonical residues of each owner's digest, over all threads."""
    totals: dict[str, NDArray[np.uint64]] = {}
    for each in sums:
        for owner, values in each.totals.items():
            totals[owner] = totals[owner] + values if owner in totals else values
    moduli = P[:, None]
    # The kernel divided by 2^64: once for the words, once for the products.
    scale = (R * R % P)[:, None]
    return {owner: values % moduli * scale % moduli for owner, values in sorted(totals.items())}


def _work(jobs: Sequence[Job]) -> OwnedTotals:
    totals = OwnedTotals()
    for job in jobs:
        totals.add("", job)
    return totals


def threads() -> int:
    """Return NUMBA_NUM_THREADS, else OMP_NUM_THREADS, else the cores that this process may use."""
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        wanted = os.environ.get(variable, "")
        if wanted.isdigit() and int(wanted):
            return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def residues(tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """Return the (2, 2048) canonical residues of the digest of int32 or int64 tensors."""
    jobs = list(_jobs(tensors))
    total_blocks = sum(blocks_of(array.size) for array in tensors.values())
    workers = threads() if total_blocks >= _PARALLEL_FROM else 1
    if workers == 1:
        sums = [_work(jobs)]
    else:
        with ThreadPoolExecutor(workers - 1) as pool:
            others = [pool.submit(_work, jobs[n::workers]) for n in range(1, workers)]
            sums = [_work(jobs[::workers]), *(other.result() for other in others)]
    zero = np.zeros((2, DEGREE), dtype=np.uint64)
    return merged(sums).get("", zero)
