"""Removal of a subject's own directions from one adapter, in closed form.

Each module's delta is s B A. With S_f, S_r the second moments of A x on forget and retain tokens,
S_f v = l (S_r + mu I) v has eigenvectors V with V^T (S_r + mu I) V = I, and B A = (B V^-T)(V^T A)
is a sum of r directions, along each of which forget features are l times as large as retain ones.
Dropping the directions J leaves B' A with B' = B (I - (V^-T)[:,J] (V^T)[J,:]): a change of B alone.
The idea is that of public work named CARVE; the formulas are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from rescind.core import OutOfBounds, WrongShape
from rescind.core.errors import ConfigError, DataError
from rescind.core.positions import Positions, check_positions
from rescind.core.posted import (
    Posted,
    check_posted,
    combine,
    modules,
    point_id,
)
from rescind.unlearning.closed_form.factors import Matrix, matrix
from rescind.unlearning.closed_form.settings import moments_measure
from rescind.unlearning.closed_form.ssd import NothingSelected
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register

if TYPE_CHECKING:
    from rescind.training import Example


@dataclass(frozen=True)
class PartialSettings:
    """Settings of partial removal.

    Attributes:
        threshold: A direction is dropped when its forget features have more than this many times
            the energy a token of its retain features.
        ridge: mu in units of the mean eigenvalue of S_f + S_r.
        positions: The tokens to forget.
        keep_positions: The tokens to keep.
        posted: Moments of the data to keep. Without any, the retain set is measured.
    """

    threshold: float = 2.0
    ridge: float = 1e-3
    positions: Positions = "answer"
    keep_positions: Positions = "answer"
    posted: tuple[Posted, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.threshold) and self.threshold > 0):
            raise ConfigError(f"threshold is {self.threshold}. It must be above 0.")
        if not (np.isfinite(self.ridge) and self.ridge > 0):
            raise ConfigError(f"ridge is {self.ridge}. It must be above 0.")
        check_positions(self.positions)
        check_positions(self.keep_positions)


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of one module.

    Attributes:
        ratios: l, falling, (rank,).
        vectors: V, one column each, (rank, rank).
        dual: V^-T, (rank, rank).
    """

    ratios: NDArray[np.float64]
    vectors: Matrix
    dual: Matrix


def directions(forget: Matrix, keep: Matrix, ridge: float) -> Directions:
    """Solve S_f v = l (S_r + mu I) v, mu = ridge x trace(S_f + S_r) / r.

    Raises:
        WrongShape: The moments are not of one module.
        NotFinite: A moment is not finite.
        OutOfBounds: The moments are all zero or indefinite.
    """
    s_f, s_r = matrix(forget, "forget moments"), matrix(keep, "retain moments")
    rank = s_f.shape[0]
    if s_f.shape != (rank, rank) or s_r.shape != (rank, rank):
        raise WrongShape(
            f"Moments of shapes {s_f.shape} and {s_r.shape} are not of one module. Give (rank, "
            "rank) each."
        )
    mu = ridge * float(np.trace(s_f) + np.trace(s_r)) / rank
    if mu <= 0:
        raise OutOfBounds("The moments are zero: no feature of this module was measured.")
    metric = (s_r + s_r.T) / 2 + mu * np.eye(rank)
    try:
        ratios, vectors = scipy.linalg.eigh((s_f + s_f.T) / 2, metric)
    except scipy.linalg.LinAlgError as error:
        raise OutOfBounds(
            f"The retain moments are not positive semidefinite: {error}. Measure them again."
        ) from error
    vectors = np.ascontiguousarray(vectors[:, ::-1])
    return Directions(ratios[::-1].copy(), vectors, metric @ vectors)


def drop(b: NDArray[Any], solved: Directions, indices: Sequence[int]) -> Matrix:
    """Return B' = B (I - (V^-T)[:,J] (V^T)[J,:]), (out, rank), for the directions J = `which`."""
    chosen = list(indices)
    b64 = np.asarray(b, dtype=np.float64)
    return np.asarray(b64 - (b64 @ solved.dual[:, chosen]) @ solved.vectors[:, chosen].T)


def posted_moments(problem: Problem, examples: Sequence[Example], positions: Positions) -> Posted:
    """Measure the moments that an organization posts about data to keep, at the problem's start."""
    from rescind.training.moments import feature_moments

    moments, tokens = feature_moments(
        problem.model,
        problem.start,
        examples,
        max_length=problem.parameters.training.max_length,
        positions=positions,
    )
    return Posted(
        "moments",
        problem.parameters.base_model_id,
        problem.owner,
        point_id(problem.start, only_a=True),
        moments_measure(positions),
        tokens,
        moments,
    )


def keep_moments(problem: Problem, posted: Sequence[Posted], positions: Positions) -> Posted:
    """Return the moments of the data to keep: those posted, or the retain set's.

    Raises:
        DataError: There is neither.
        PostedMismatch: Posted moments are of another block or A.
    """
    for part in posted:
        check_posted(
            part,
            kind="moments",
            parameters=problem.parameters,
            owner=problem.owner,
            measure=moments_measure(positions),
            point=point_id(problem.start, only_a=True),
        )
    if posted:
        return combine(posted)
    if not problem.retain:
        raise DataError("There is nothing to keep. Give a retain set or posted moments.")
    return posted_moments(problem, problem.retain, positions)


@register(
    PartialSettings,
    source="CARVE",
    needs_retain=True,
    trains=False,
)
def partial(problem: Problem, settings: PartialSettings) -> Outcome:
    """Drop the directions that are the forget set's own.

    Raises:
        NothingSelected: No direction passes the threshold.
        DataError: There is no data to keep; see `keep_moments`.
    """
    keep = keep_moments(problem, settings.posted, settings.keep_positions)
    forget = posted_moments(problem, problem.forget, settings.positions)
    tensors = {name: problem.start[name].astype(np.float32) for name in problem.model.trainable}
    dropped: dict[str, list[int]] = {}
    ratios: dict[str, list[float]] = {}
    for module in modules(problem.model.shapes):
        if not (forget.tensors[module].any() or keep.tensors[module].any()):
            continue
        solved = directions(forget.tensors[module], keep.tensors[module], settings.ridge)
        ratios[module] = [float(value) for value in solved.ratios]
        indices = [index for index, value in enumerate(solved.ratios) if value > settings.threshold]
        if indices:
            name = f"{module}.lora_B"
            tensors[name] = drop(problem.start[name], solved, indices).astype(np.float32)
            dropped[module] = indices
    if all(np.array_equal(tensors[name], problem.start[name]) for name in tensors):
        raise NothingSelected(_too_high(settings.threshold, ratios))
    return Outcome("partial", tensors, _report(settings, forget, keep, dropped, ratios))


def _too_high(threshold: float, ratios: Mapping[str, list[float]]) -> str:
    highest = max((max(values) for values in ratios.values()), default=0.0)
    return (
        f"No direction with a weight in B is {threshold} times as strong on the forget set as on "
        f"the data to keep (at most {highest:.3g} times): set threshold below that."
    )


def _report(
    settings: PartialSettings,
    forget: Posted,
    keep: Posted,
    dropped: Mapping[str, list[int]],
    ratios: Mapping[str, list[float]],
) -> dict[str, Any]:
    return {
        "threshold": settings.threshold,
        "ridge": settings.ridge,
        "measure": forget.measure,
        "keep_measure": keep.measure,
        "posted": sorted(part.id for part in settings.posted),
        "forget_tokens": forget.count,
        "keep_tokens": keep.count,
        "dropped": dict(dropped),
        "dropped_directions": sum(len(indices) for indices in dropped.values()),
        "directions": sum(len(values) for values in ratios.values()),
        "ratios": dict(ratios),
    }
