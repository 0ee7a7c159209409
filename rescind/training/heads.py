"""The head that is served from summed statistics, as canonical integers.

W is the nearest integers to the exact rational solution of (G + ridge I) W = 2^scale_bits Q, ties to
even. So it is a function of the integers G and Q, and not of who solves it, with which library, on
which machine. It is found in floats and proved in integers:

1. A solution X with more bits, the *witness*, comes from a Cholesky factorization and refinement
   with exact residuals R = 2^(scale_bits + extra_bits) Q - (G + ridge I) X.
2. No eigenvalue of G + ridge I is below the ridge, so each column of X is within |R| / ridge of the
   exact solution. Where that is less than the distance to the nearest tie, rounding X is rounding
   the exact solution. Otherwise the witness gets more bits.
3. An exact tie never gets there. A value that stays within 2^-96 of a tie is compared with it modulo
   primes.

A holder of the witness checks the head with one exact multiplication.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rescind.core import artifact_id, encode
from rescind.core.errors import ArtifactError
from rescind.core.linear_sums import LinearSums
from rescind.training.exact_systems import NotSolvable as NotSolvable
from rescind.training.exact_systems import Solver as Solver
from rescind.training.exact_systems import System, cholesky, refined
from rescind.training.ridges import trace_ridge as trace_ridge

_FIRST_EXTRA_BITS = 48
_MORE_BITS = 24
_MOST_EXTRA_BITS = 4096


class WrongHead(ArtifactError):
    """A head that is not the one of the statistics."""

    code = "artifact-wrong-head"


@dataclass(frozen=True, eq=False)
class Head:
    """A classifier: the class of features phi is the largest entry of phi' W among classes with rows.

    Attributes:
        weights: W, int64 (dimensions, classes).
        ridge: What was added to the diagonal of G.
        scale_bits: W is in units of 2^-scale_bits.
        witness: The solution with more bits, Python integers (dimensions, classes).
        extra_bits: How many more.
    """

    weights: NDArray[np.int64]
    ridge: int
    scale_bits: int
    witness: NDArray[np.object_]
    extra_bits: int

    @cached_property
    def id(self) -> str:
        """The SHA-256 of the weights as an artifact; the witness is not part of it."""
        return artifact_id(encode({"weights": self.weights}))

    def scores(self, features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return phi' W, int64 (rows, classes), exact.

        Raises:
            NotSolvable: A score may not fit 64 bits.
        """
        largest = int(np.abs(features).max(initial=0)) * int(np.abs(self.weights).max(initial=0))
        if largest * features.shape[1] >= 2**63:
            raise NotSolvable("a score of the head may not fit 64 bits: lower scale_bits")
        scores: NDArray[np.int64] = features @ self.weights
        return scores


def solve(
    statistics: LinearSums,
    *,
    ridge: int | None = None,
    scale_bits: int = 20,
    solver: Solver | None = None,
) -> Head:
    """Return the head of summed statistics.

    Args:
        statistics: The sums over all rows.
        ridge: What is added to the diagonal; by default `trace_ridge`.
        scale_bits: The resolution of the weights.
        solver: Solves approximately; any one gives the same weights, or fails.

    Raises:
        NotSolvable: The ridge is not positive, there are no rows, the system is too large, or the
            solver's errors do not shrink.
    """
    ridge = trace_ridge(statistics) if ridge is None else ridge
    system = System.of(statistics, ridge, scale_bits)
    if not statistics.trace:
        raise NotSolvable("the statistics are of no rows: there is nothing to solve")
    inner = solver or cholesky(system.matrix)
    extra = _FIRST_EXTRA_BITS
    witness = np.zeros(system.moments.shape, dtype=object)
    while extra <= _MOST_EXTRA_BITS:
        witness = refined(system, witness, extra, inner)
        weights = system.rounded(witness, extra)
        if weights is not None:
            return Head(_as_int64(weights), ridge, scale_bits, witness, extra)
        witness = witness * 2**_MORE_BITS
        extra += _MORE_BITS
    raise NotSolvable(
        f"the head is not determined with {_MOST_EXTRA_BITS} more bits: raise the ridge"
    )


def check_head(statistics: LinearSums, head: Head, *, ridge: int | None = None) -> None:
    """Check that a head is the one of the statistics, by its witness.

    Args:
        statistics: The sums over all rows.
        head: The head with its witness.
        ridge: The agreed ridge; by default `trace_ridge`.

    Raises:
        WrongHead: It is another one, or the witness does not prove it.
        NotSolvable: The ridge is not positive, or the system is too large.
    """
    agreed = trace_ridge(statistics) if ridge is None else ridge
    if head.ridge != agreed:
        raise WrongHead(f"the head's ridge is {head.ridge}, and {agreed} is agreed")
    system = System.of(statistics, agreed, head.scale_bits)
    shape = system.moments.shape
    if head.weights.shape != shape or head.witness.shape != shape:
        raise WrongHead(f"the head has shape {head.weights.shape}, and its statistics {shape}")
    if not 0 <= head.extra_bits <= _MOST_EXTRA_BITS:
        raise WrongHead(f"the witness has {head.extra_bits} more bits: 0 to {_MOST_EXTRA_BITS}")
    weights = system.rounded(head.witness, head.extra_bits)
    if weights is None:
        raise WrongHead("the witness is not exact enough to determine the head. Solve it again.")
    different = np.argwhere(weights != head.weights.astype(object))
    if len(different):
        row, column = (int(place) for place in different[0])
        raise WrongHead(
            f"weight {row} of class {column} is {head.weights[row, column]}, and the statistics "
            f"give {weights[row, column]}"
        )


def _as_int64(weights: NDArray[np.object_]) -> NDArray[np.int64]:
    largest = max((abs(int(value)) for value in weights.flat), default=0)
    if largest >= 2**63:
        raise NotSolvable(f"a weight is {largest}, which does not fit 64 bits: lower scale_bits")
    return weights.astype(np.int64)
