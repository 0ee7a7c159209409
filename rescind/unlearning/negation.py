"""Task-vector negation: take back a multiple of the organization's own registered delta.

Ilharco et al. 2022, arXiv 2212.04089, with the registered delta for the task vector. It needs no data
and no training, but it takes back the delta and not what others learned from it; and factor by
factor, (1 - scale) B times (A0 + (1 - scale)(A - A0)) is a multiple of the product only with a
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
    """`scale`: lambda; 1 takes back all of it. `delta`: the organization's own part of the block, its
    trainable tensors by bare name in parameter units; None for all that the block learned, which is
    its own in an isolated block.
    """

    scale: float = 1.0
    delta: FloatTensors | None = None

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 10:
            raise ConfigError(f"scale is {self.scale}: it is above 0, at most 10")


@register(
    TaskVectorSettings,
    source="task vector negation; Ilharco et al. 2022, arXiv 2212.04089",
    needs_retain=False,
    trains=False,
    forgets_subjects=False,
)
def task_vector(problem: Problem, settings: TaskVectorSettings) -> Outcome:
    """start - scale x delta. Raises ConfigError for a delta that does not fit the block."""
    began = time.monotonic()
    names = problem.model.trainable
    delta = _learned(problem) if settings.delta is None else settings.delta
    odd = sorted(set(delta) ^ set(names))
    if odd:
        raise ConfigError(
            f"the delta does not fit the block at {odd[0]!r}: it has the trainable tensors, "
            "by bare name"
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
            "a shared adapter is everybody's: set delta to what the organization registered"
        )
    shapes = {name: tuple(value.shape) for name, value in problem.start.items()}
    fresh = materialize({}, shapes, parameters=problem.parameters, owner=problem.owner)
    return {n: problem.start[n] - fresh[n] for n in problem.model.trainable}
