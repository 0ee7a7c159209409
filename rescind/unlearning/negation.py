"""Task-vector negation: subtract a multiple of the organization's own registered delta.

Ilharco et al. 2022, arXiv 2212.04089, with the registered delta as the task vector. It needs no
data and no training, but it only subtracts the delta, not what others learned from it. And factor
by factor, (1 - scale) B times (A0 + (1 - scale)(A - A0)) is a multiple of the product only with a
frozen A.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from rescind.core import FloatTensors, l2_norm, materialize
from rescind.core.errors import ConfigError
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register


@dataclass(frozen=True)
class TaskVectorSettings:
    """Settings of task-vector negation.

    Attributes:
        scale: Lambda; 1 subtracts all of the delta.
        delta: The organization's own part of the block: its trainable tensors by bare name, in
            parameter units. None for everything that the block learned, which in an isolated block
            is the organization's own.
    """

    scale: float = 1.0
    delta: FloatTensors | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 10:
            raise ConfigError(f"scale is {self.scale}. It must be above 0, at most 10.")


@register(
    TaskVectorSettings,
    source="task vector negation; Ilharco et al. 2022, arXiv 2212.04089",
    needs_retain=False,
    trains=False,
    forgets_subjects=False,
)
def task_vector(problem: Problem, settings: TaskVectorSettings) -> Outcome:
    """Compute start - scale x delta.

    Raises:
        ConfigError: The delta does not fit the block, or is missing in a shared layout.
    """
    began = time.monotonic()
    names = problem.model.trainable
    delta = _learned(problem) if settings.delta is None else settings.delta
    different = sorted(set(delta) ^ set(names))
    if different:
        raise ConfigError(
            f"The delta does not fit the block at {different[0]!r}. Give the block's trainable "
            "tensors, by bare name."
        )
    tensors = {
        name: (problem.start[name] - settings.scale * delta[name].astype(np.float64)).astype(
            np.float32
        )
        for name in names
    }
    report = {
        "settings": {"scale": settings.scale},
        "delta_norm": l2_norm(delta),
        "seconds": time.monotonic() - began,
    }
    return Outcome("task_vector", tensors, report)


def _learned(problem: Problem) -> FloatTensors:
    if problem.parameters.layout == "shared":
        raise ConfigError(
            "A shared adapter belongs to all organizations. Set delta to what this one registered."
        )
    shapes = {name: tuple(value.shape) for name, value in problem.start.items()}
    fresh = materialize({}, shapes, parameters=problem.parameters, owner=problem.owner)
    return {n: problem.start[n] - fresh[n] for n in problem.model.trainable}
