"""Linear systems of integers, solved in floats and checked exactly.

(G + ridge I) X = 2^bits Q, with the integers of summed statistics. `refined` finds X with an error of
about one unit, whatever the bits; `System.residual` is exact, so that |R| / ridge bounds the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from rescind.core.errors import DataError
from rescind.core.features import MOST_DIMENSIONS
from rescind.core.linear_sums import LinearSums

Solver = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Returns an approximate solution for a right-hand side, (dimensions, classes)."""
_LIMB_BITS = 20
_LIMB = 2**_LIMB_BITS
"""Sums of MOST_DIMENSIONS products of limbs are exact in float64: 13 + 20 + 20 bits."""
TIE_BITS = 96
"""From here on a value that is still not set apart from a tie is compared with it exactly."""
_REFINEMENTS = 64
_PRIMES = (2147483629, 2147483587, 2147483579, 2147483563)
"""A value that is not a tie would have to agree with it modulo each, about once in 2^124."""


class NotSolvable(DataError):
    """Statistics from which no head can be solved."""

    code = "head-not-solvable"


@dataclass(frozen=True, eq=False)
class System:
    """(G + ridge I) W = 2^scale_bits Q.

    Attributes:
        matrix: G + ridge I, int64.
        limbs: Its limbs of 20 bits, the lowest first, as float64.
        moments: Q as Python integers.
    """

    matrix: NDArray[np.int64]
    limbs: Sequence[NDArray[np.float64]]
    moments: NDArray[np.object_]
    ridge: int
    scale_bits: int

    @classmethod
    def of(cls, statistics: LinearSums, ridge: int, scale_bits: int) -> System:
        if ridge < 1:
            raise NotSolvable(f"the ridge is {ridge}: it must be at least 1")
        if statistics.dimensions > MOST_DIMENSIONS:
            raise NotSolvable(
                f"there are {statistics.dimensions} features, and {MOST_DIMENSIONS} are the most"
            )
        gram = statistics.full_gram()
        if int(gram.diagonal().max(initial=0)) + ridge >= 2**62:
            raise NotSolvable("the sums are too large to solve: they must stay below 2^62")
        matrix = gram + ridge * np.eye(len(gram), dtype=np.int64)
        return cls(matrix, _limbs(matrix), statistics.moments.astype(object), ridge, scale_bits)

    @property
    def matrix_norm(self) -> int:
        """The most that a change of each entry of X by one changes an entry of the residual."""
        return sum(abs(int(value)) for value in np.abs(self.matrix).max(axis=0))

    def residual(self, witness: NDArray[np.object_], extra: int) -> NDArray[np.object_]:
        """Return 2^(scale_bits + extra) Q - (G + ridge I) X, exact."""
        residual: NDArray[np.object_] = self.moments * 2 ** (self.scale_bits + extra)
        for place, limb in enumerate(_limbs(witness)):
            for other, own in enumerate(self.limbs):
                product = (own @ limb).astype(np.int64).astype(object)
                residual = residual - product * 2 ** (_LIMB_BITS * (place + other))
        return residual

    def rounded(self, witness: NDArray[np.object_], extra: int) -> NDArray[np.object_] | None:
        """Return the nearest integers to the exact solution; None if the witness leaves them open."""
        residual = self.residual(witness, extra)
        one, half = 2**extra, 2**extra // 2
        weights: NDArray[np.object_] = (witness + half) // one
        # How far each value of the witness is from the nearest tie.
        distance = np.abs((witness % one) - half)
        ties: list[tuple[int, int]] = []
        open_places: list[tuple[int, int]] = []
        for column in range(residual.shape[1]):
            squares = sum(int(value) ** 2 for value in residual[:, column])
            # |X - exact| <= |R| / ridge, compared as squares. Without a residual, X is exact.
            near = [
                (row, column)
                for row in range(len(residual))
                if int(distance[row, column]) ** 2 * self.ridge**2 <= squares
            ]
            (open_places if squares else ties).extend(near)
        if open_places and extra < TIE_BITS:
            return None
        for row, column in ties + open_places:
            below = int(witness[row, column]) // one
            if (row, column) in open_places and not self._is_tie(row, column, 2 * below + 1):
                return None
            weights[row, column] = below + below % 2
        return weights

    def _is_tie(self, row: int, column: int, doubled: int) -> bool:
        """Return whether twice the exact solution at a place is the given odd number."""
        right = [2 * int(value) * 2**self.scale_bits for value in self.moments[:, column]]
        for prime in _PRIMES:
            solution = _solution_modulo(self.matrix, right, prime)
            if solution is not None and (int(solution[row]) - doubled) % prime:
                return False
        return True


def _solution_modulo(
    matrix: NDArray[np.int64], right: Sequence[int], prime: int
) -> NDArray[np.int64] | None:
    """Solve a system modulo a prime below 2^31; None where it is singular."""
    size = len(matrix)
    work = np.empty((size, size + 1), dtype=np.int64)
    work[:, :size] = matrix % prime
    work[:, size] = [value % prime for value in right]
    for step in range(size):
        pivots = np.flatnonzero(work[step:, step])
        if not len(pivots):
            return None
        pivot = step + int(pivots[0])
        work[[step, pivot]] = work[[pivot, step]]
        work[step, step:] = work[step, step:] * pow(int(work[step, step]), -1, prime) % prime
        others = np.arange(size) != step
        factors = work[others, step, None]
        work[others, step:] = (work[others, step:] - factors * work[step, step:]) % prime
    return work[:, size]


def cholesky(matrix: NDArray[np.int64]) -> Solver:
    """Return a solver by a Cholesky factorization in float64."""
    factor = scipy.linalg.cho_factor(matrix.astype(np.float64), check_finite=False)

    def solver(right: NDArray[np.float64]) -> NDArray[np.float64]:
        solution: NDArray[np.float64] = scipy.linalg.cho_solve(factor, right, check_finite=False)
        return solution

    return solver


def refined(
    system: System, witness: NDArray[np.object_], extra: int, solver: Solver
) -> NDArray[np.object_]:
    """Return a solution whose error is about one unit, from one that may be far off."""
    least: int | None = None
    for _ in range(_REFINEMENTS):
        residual = system.residual(witness, extra)
        size = max((abs(int(value)) for value in residual.flat), default=0)
        if not size or (least is not None and size * 2 > least):
            break
        least = size
        # float64 holds numbers up to 2^1023 only.
        shift = max(0, size.bit_length() - 1000)
        step = solver((residual // 2**shift).astype(np.float64))
        if not np.isfinite(step).all():
            break
        change = np.array([int(value) for value in np.rint(step).flat], dtype=object)
        witness = witness + change.reshape(step.shape) * 2**shift
    # Rounding X to integers leaves this much, whatever the solver.
    if size > system.matrix_norm:
        raise NotSolvable(
            "the solver's errors do not shrink: the system is too ill-conditioned. Raise the ridge."
        )
    return witness


def _limbs(values: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Return the limbs of 20 bits, the lowest first, each from -2^19 to 2^19 - 1."""
    limbs = []
    while True:
        low = (values + _LIMB // 2) % _LIMB - _LIMB // 2
        limbs.append(low.astype(np.float64))
        values = (values - low) // _LIMB
        if not values.any():
            return limbs
