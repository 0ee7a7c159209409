"""Least squares for one linear map: the change of W that gives certain inputs certain outputs.

Delta minimises ||Delta K_f - E||^2 + eta ||Delta K_r||^2 + mu ||Delta||^2, with one column for each
token: K_f (in, n) inputs whose outputs must move by E (out, n), K_r (in, m) inputs whose outputs
must stay. Its normal equations give Delta = E K_f^T (K_f K_f^T + eta K_r K_r^T + mu I)^-1.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from rescind.core import WrongShape
from rescind.core.errors import ConfigError
from rescind.unlearning.closed_form.factors import Factors, Matrix


def ridge_edit(error: Matrix, keys: Matrix, keep: Matrix, *, eta: float, mu: float) -> Factors:
    """Return Delta as factors of rank n, by Woodbury's identity.

    With C = eta K_r K_r^T + mu I: B = E (K_f^T C^-1 K_f + I)^-1, A = K_f^T C^-1. `keep` may have no
    columns. Costs an n x n system and one of the smaller of m x m and in x in.
    """
    _check(eta, mu)
    _same_columns(error, keys)
    if keep.shape[0] != keys.shape[0]:
        raise WrongShape(
            f"The keys have {keys.shape[0]} rows and keep has {keep.shape[0]}. Give equally many."
        )
    whitened = _solve_keep(keep, keys, eta=eta, mu=mu)
    inner = keys.T @ whitened
    inner = (inner + inner.T) / 2 + np.eye(keys.shape[1])
    b = scipy.linalg.solve(inner, error.T, assume_a="pos").T
    return Factors(np.ascontiguousarray(b), np.ascontiguousarray(whitened.T))


def ridge_edit_within(
    error: Matrix, features: Matrix, keep_moment: Matrix, *, eta: float, mu: float
) -> Matrix:
    """Return the best change of B (out, r) alone: `ridge_edit` with features A k as keys.

    `features` = A K_f (r, n); `keep_moment` = A K_r K_r^T A^T (r, r), a sum over tokens. mu weighs
    the change of B.
    """
    _check(eta, mu)
    _same_columns(error, features)
    rank = features.shape[0]
    if keep_moment.shape != (rank, rank):
        raise WrongShape(
            f"The moment to keep has shape {keep_moment.shape}, expected {rank, rank}."
        )
    normal = features @ features.T + eta * keep_moment + mu * np.eye(rank)
    change = scipy.linalg.solve((normal + normal.T) / 2, features @ error.T, assume_a="pos")
    return np.ascontiguousarray(change.T)


def _solve_keep(keep: Matrix, keys: Matrix, *, eta: float, mu: float) -> Matrix:
    """Return C^-1 K_f, by the smaller of two systems (Woodbury)."""
    width, count = keep.shape
    if count == 0 or eta == 0.0:
        return keys / mu
    if count < width:
        inner = keep.T @ keep + (mu / eta) * np.eye(count)
        part = keep @ scipy.linalg.solve(inner, keep.T @ keys, assume_a="pos")
        return np.asarray((keys - part) / mu)
    outer = eta * (keep @ keep.T) + mu * np.eye(width)
    return np.asarray(scipy.linalg.solve(outer, keys, assume_a="pos"))


def _check(eta: float, mu: float) -> None:
    if not (np.isfinite(eta) and eta >= 0):
        raise ConfigError(f"eta is {eta}. It must be 0 or more.")
    if not (np.isfinite(mu) and mu > 0):
        raise ConfigError(f"mu is {mu}. It must be above 0, or the solution need not be unique.")


def _same_columns(error: Matrix, inputs: Matrix) -> None:
    if inputs.shape[1] == 0 or error.shape[1] != inputs.shape[1]:
        raise WrongShape(
            f"There are {inputs.shape[1]} inputs and {error.shape[1]} outputs. Give one output for "
            "each input, at least one."
        )
