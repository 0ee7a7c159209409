"""Pairs of LoRA factors as integers, and sums of their products, kept exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import WEIGHT_ONE, WrongShape

Integers = NDArray[Any]
"""int32 or int64; object where a result must not overflow."""


@dataclass(frozen=True, eq=False)
class Factors:
    """The two factors of one LoRA module, whose product is b a.

    Attributes:
        a: Shape (rank, in).
        b: Shape (out, rank).
    """

    a: Integers
    b: Integers

    def __post_init__(self) -> None:
        if self.a.ndim != 2 or self.b.ndim != 2 or self.a.shape[0] != self.b.shape[1]:
            raise WrongShape(
                f"factors of shapes A {self.a.shape} and B {self.b.shape} have no product: "
                "A is (rank, in) and B is (out, rank)"
            )

    @property
    def rank(self) -> int:
        """The rank."""
        return int(self.a.shape[0])

    @property
    def size(self) -> int:
        """The number of integers."""
        return int(self.a.size + self.b.size)

    def fitted(self, to: Factors) -> Factors:
        """Return the factors with zero rows of A and zero columns of B up to the rank of `to`.

        Deltas are padded, not factors: ranks that an organization does not train keep their values,
        where padding factors (HetLoRA, Cho et al. 2024, arXiv 2401.06432) pulls them to zero.

        Raises:
            WrongShape: These have more ranks than `to`, or other inputs or outputs.
        """
        fits = self.a.shape[1] == to.a.shape[1] and self.b.shape[0] == to.b.shape[0]
        if not fits or self.rank > to.rank:
            raise WrongShape(
                f"a delta of A {self.a.shape} and B {self.b.shape} does not fit factors of "
                f"A {to.a.shape} and B {to.b.shape}: inputs and outputs must agree, "
                "ranks may be fewer"
            )
        more = to.rank - self.rank
        return Factors(
            np.pad(self.a, ((0, more), (0, 0))),
            np.pad(self.b, ((0, 0), (0, more))),
        )


@dataclass(frozen=True, eq=False)
class LowRank:
    """scale x b a / (10,000 x unit^2), with b and a on the grid of aggregates.

    unit = 10,000 x 2^fraction_bits. A pair that counts once has scale 10,000; a pair with weight w
    has scale w.
    """

    factors: Factors
    scale: int = WEIGHT_ONE


def rank(terms: Iterable[LowRank]) -> int:
    """Return the rank of the two factors that the terms make when they are stacked."""
    return sum(term.factors.rank for term in terms)


def numerators(terms: Sequence[LowRank]) -> NDArray[Any]:
    """Return the dense sum times 10,000 x unit^2: Python integers, (out, in). Exact, and slow."""
    first = terms[0].factors
    total = np.zeros((first.b.shape[0], first.a.shape[1]), dtype=object)
    for term in terms:
        total = total + (term.factors.b.astype(object) @ term.factors.a.astype(object)) * term.scale
    return total


def stacked(
    terms: Sequence[LowRank], *, fraction_bits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one pair (b, a) in parameter units whose product is the sum.

    As in FLoRA the scale goes into one factor only.

    Returns:
        b of shape (out, k) and a of shape (k, in), with k = `rank`.
    """
    unit = float(2**fraction_bits) * WEIGHT_ONE
    b = [term.factors.b / unit for term in terms]
    a = [term.factors.a / unit * (term.scale / WEIGHT_ONE) for term in terms]
    return np.concatenate(b, axis=1), np.concatenate(a, axis=0)


def dense(terms: Sequence[LowRank], *, fraction_bits: int) -> NDArray[np.float64]:
    """Return the sum as one matrix in parameter units, (out, in), float64."""
    b, a = stacked(terms, fraction_bits=fraction_bits)
    product: NDArray[np.float64] = b @ a
    return product
