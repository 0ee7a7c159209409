"""Edits of a weight as products of two thin matrices, which can be registered as counter-deltas.

An edit E (out, in) is B A with B (out, k) and A (k, in). The caller applies the LoRA scale alpha /
rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rescind.core import NotFinite, WrongShape

Matrix = NDArray[np.float64]


def matrix(value: ArrayLike, what: str) -> Matrix:
    """Return a value as a float64 matrix. `what` names it in errors.

    Raises:
        WrongShape: It does not have two dimensions.
        NotFinite: It has NaN or infinite values.
    """
    result: Matrix = np.asarray(value, dtype=np.float64)
    if result.ndim != 2:
        raise WrongShape(f"{what} has shape {result.shape}. A matrix has two dimensions.")
    if not np.isfinite(result).all():
        raise NotFinite(f"{what} has NaN or infinite values. Measure it again.")
    return result


@dataclass(frozen=True, eq=False)
class Factors:
    """A product of `b` (out, k) and `a` (k, in), float64. k may be 0."""

    b: Matrix
    a: Matrix

    def __post_init__(self) -> None:
        if self.b.ndim != 2 or self.a.ndim != 2 or self.b.shape[1] != self.a.shape[0]:
            raise WrongShape(
                f"Factors of shapes {self.b.shape} and {self.a.shape} have no product. "
                "Give (out, k) and (k, in)."
            )

    @property
    def rank(self) -> int:
        """k, an upper bound on the product's rank."""
        return int(self.a.shape[0])

    def dense(self) -> Matrix:
        """Return the product, (out, in)."""
        return self.b @ self.a

    def norm(self) -> float:
        """Return the Frobenius norm of the product, without forming it."""
        return float(np.linalg.norm(_core(self)[1])) if self.rank else 0.0


def scale_by(factors: Factors, scale: float) -> Factors:
    """Return factors of the product times `scale`."""
    return Factors(scale * factors.b, factors.a)


def concatenate(parts: Sequence[Factors]) -> Factors:
    """Return the exact sum of products: B = [B1 B2 ...], A = [A1; A2; ...]. Ranks add up.

    Averaging B and A would not give this sum.

    Raises:
        WrongShape: The products have different shapes, or there are none.
    """
    if not parts:
        raise WrongShape("There is nothing to add. Give at least one pair of factors.")
    shapes = {(part.b.shape[0], part.a.shape[1]) for part in parts}
    if len(shapes) > 1:
        raise WrongShape(
            f"Products of shapes {sorted(shapes)} have no sum. Give products of one shape."
        )
    return Factors(np.hstack([part.b for part in parts]), np.vstack([part.a for part in parts]))


def difference(after: Factors, before: Factors) -> Factors:
    """Return after - before as one pair of factors: the counter-delta of a change of B and A."""
    return concatenate([after, Factors(-before.b, before.a)])


def truncate(edit: ArrayLike, rank: int) -> tuple[Factors, float]:
    """Return the nearest product of rank `rank`, and ||E - B A|| / ||E|| (Frobenius).

    Truncated singular value decomposition, E = U S V^T, B = U_k S_k^(1/2), A = S_k^(1/2) V_k^T
    (Eckart and Young 1936), with zeros where E has fewer dimensions than `rank`. The error is 0 for
    E = 0.
    """
    dense = matrix(edit, "an edit")
    u, s, vt = np.linalg.svd(dense, full_matrices=False)
    return _cut(u, s, vt, rank)


def compress(factors: Factors, rank: int) -> tuple[Factors, float]:
    """Truncate a product without forming it: QR of both factors, SVD of the matrix between them."""
    (q_b, q_a), core = _core(factors)
    u, s, vt = np.linalg.svd(core, full_matrices=False)
    return _cut(q_b @ u, s, vt @ q_a.T, rank)


def align(factors: Factors, like: Factors) -> Factors:
    """Return the same product in the factors nearest to `like`, among B Q, Q^T A with Q orthogonal.

    This is orthogonal Procrustes (Schoenemann 1966) on both factors at once. The registered delta
    is a change of factors, and this keeps it small.

    Raises:
        WrongShape: The shapes are not those of `like`.
    """
    if factors.b.shape != like.b.shape or factors.a.shape != like.a.shape:
        raise WrongShape(
            f"Factors of shapes {factors.b.shape} and {factors.a.shape} are not like "
            f"{like.b.shape} and {like.a.shape}. Give factors of equal shapes."
        )
    u, _, vt = np.linalg.svd(factors.b.T @ like.b + factors.a @ like.a.T)
    turn = u @ vt
    return Factors(factors.b @ turn, turn.T @ factors.a)


def relative_error(exact: Factors, result: Factors) -> float:
    """Return ||result - exact|| / ||exact|| (Frobenius): 0 if both are 0, inf if only exact is."""
    size, gap = exact.norm(), difference(result, exact).norm()
    if size == 0.0:
        return 0.0 if gap == 0.0 else float("inf")
    return gap / size


def _core(factors: Factors) -> tuple[tuple[Matrix, Matrix], Matrix]:
    q_b, r_b = np.linalg.qr(factors.b)
    q_a, r_a = np.linalg.qr(factors.a.T)
    return (q_b, q_a), r_b @ r_a.T


def _cut(u: Matrix, s: Matrix, vt: Matrix, rank: int) -> tuple[Factors, float]:
    if rank < 1:
        raise WrongShape(f"rank is {rank}. It must be at least 1.")
    root = np.sqrt(s[:rank])
    b, a = u[:, :rank] * root, root[:, None] * vt[:rank]
    missing = rank - root.size
    whole, lost = float(np.linalg.norm(s)), float(np.linalg.norm(s[rank:]))
    return Factors(
        np.pad(b, ((0, 0), (0, max(missing, 0)))), np.pad(a, ((0, max(missing, 0)), (0, 0)))
    ), (lost / whole if whole else 0.0)
