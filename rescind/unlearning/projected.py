"""Projected gradient ascent of the leaving client (Halimi et al. 2022, arXiv 2207.05521).

The client maximizes its loss on its own data, but stays within an L2 ball around the model of the
others: the reference w = (N w_all - w_own) / (N - 1). Published: SGD with momentum 0.9 and rate
0.01 from the reference on, a radius of a third of the mean distance between the reference and ten
fresh models, an early stop once few of its answers are still right (12% there). Some rounds among
those who remain follow (`forgetting.replay`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import (
    SHARED,
    ConsortiumParameters,
    FloatTensors,
    l2_norm,
    materialize,
)
from rescind.core.errors import ConfigError
from rescind.training.rules.rule import Rule
from rescind.unlearning import losses
from rescind.unlearning.counter import (
    Plan,
    Settings,
    Views,
    counter_train,
)
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register

_FRESH_STARTS = 10
"""As published."""


@dataclass(frozen=True)
class HalimiSettings(Settings):
    """Settings of projected gradient ascent.

    Attributes:
        reference: All LoRA tensors of the others' average, by bare name (`reference_without`). In
            an isolated block no one else has a part, so there None is the block's fresh start.
        radius: Of the ball over the trainable tensors, in parameter units. None for the published
            third of the mean distance to ten fresh starts.
        from_reference: Start from the reference, as published, or else from the served model,
            projected.
        momentum: Of SGD.
    """

    learning_rate: float | None = 0.01
    alpha: float = 0.0
    reference: FloatTensors | None = None
    radius: float | None = None
    from_reference: bool = True
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.radius is not None and not self.radius > 0:
            raise ConfigError(f"radius is {self.radius}. It must be above 0.")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"momentum is {self.momentum}. It must be 0 or more, below 1.")


def reference_without(
    average: FloatTensors, own: FloatTensors, members: int
) -> dict[str, NDArray[np.float32]]:
    """Return the average of the others: (N average - own) / (N - 1) with N `members`.

    Raises:
        ConfigError: There are fewer than two members.
    """
    if members < 2:
        raise ConfigError(f"The consortium has {members} members. The reference needs at least 2.")
    return {
        name: ((members * average[name].astype(np.float64) - own[name]) / (members - 1)).astype(
            np.float32
        )
        for name in average
    }


def project(
    tensors: Mapping[str, NDArray[np.float32]], centre: FloatTensors, radius: float
) -> dict[str, NDArray[np.float32]]:
    """Return the nearest point of the ball. A point outside is pulled in radially."""
    offset = {name: tensors[name].astype(np.float64) - centre[name] for name in tensors}
    norm = l2_norm(offset)
    factor = min(1.0, radius / norm) if norm else 1.0
    return {n: (centre[n] + factor * offset[n]).astype(np.float32) for n in tensors}


def published_radius(
    parameters: ConsortiumParameters, owner: str, centre: FloatTensors, names: Sequence[str]
) -> float:
    """Return a third of the mean L2 distance between `centre` and ten fresh starts, over `names`.

    A fresh B is zero and a frozen A never changes, so with a frozen A it is a third of B's norm.
    """
    shapes = {name: centre[name].shape for name in names}
    distances = []
    for index in range(_FRESH_STARTS):
        other = parameters.model_copy(update={"seed": (parameters.seed + 1 + index) % 2**63})
        fresh = materialize({}, shapes, parameters=other, owner=owner)
        offset = {n: fresh[n].astype(np.float64) - centre[n] for n in names}
        distances.append(l2_norm(offset))
    return float(np.mean(distances)) / 3


class Ball(Rule):
    """A rule that pulls all tensors together back into an L2 ball after each step."""

    def __init__(self, centre: Mapping[str, torch.Tensor], radius: float) -> None:
        self._centre, self._radius = centre, radius
        self.touched = 0
        self.distance = 0.0

    @torch.no_grad()
    def after_step(
        self,
        step: int,  # noqa: ARG002
        batch: Sequence[int],  # noqa: ARG002
        tensors: Mapping[str, torch.nn.Parameter],
    ) -> None:
        """Project the tensors into the ball."""
        offsets = {name: tensors[name] - self._centre[name] for name in tensors}
        flat = torch.cat([offset.flatten() for offset in offsets.values()])
        self.distance = float(flat.double().norm())
        if self.distance <= self._radius:
            return
        self.touched += 1
        factor = self._radius / self.distance
        self.distance = self._radius
        for name, tensor in tensors.items():
            tensor.copy_(self._centre[name] + factor * offsets[name])


@register(
    HalimiSettings,
    source="projected gradient ascent; Halimi et al. 2022, arXiv 2207.05521",
    needs_retain=False,
)
def halimi(problem: Problem, settings: HalimiSettings) -> Outcome:
    """Ascend on the forget answers inside a ball around the reference.

    The report has `radius`, the `distance` at the end and how often the ball was reached.

    Raises:
        ConfigError: The reference does not fit or is missing in a shared layout, or the radius is
            0.
    """
    names = problem.model.trainable
    centre = _centre(problem, settings)
    radius = settings.radius or published_radius(problem.parameters, problem.owner, centre, names)
    if not radius > 0:
        raise ConfigError(
            "The reference is a fresh start, so a third of the distance to it is 0. Set radius."
        )
    begin = project({n: problem.start[n] for n in names}, centre, radius)
    start = {
        **problem.start,
        **({n: centre[n] for n in names} if settings.from_reference else begin),
    }
    device = problem.model.base.device
    ball = Ball({n: torch.from_numpy(np.array(centre[n])).to(device) for n in names}, radius)

    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        return losses.grad_ascent(trained["forget"].log_probs, trained["forget"].counted)

    def sgd(parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate, momentum=settings.momentum)

    plan = Plan(term, rule=ball, optimizer=sgd, start=start, clip=5.0)
    outcome = counter_train(problem, "halimi", settings, plan)
    report = {
        **outcome.report,
        "radius": radius,
        "distance": ball.distance,
        "steps_at_the_radius": ball.touched,
    }
    return Outcome(outcome.method, outcome.tensors, report)


def _centre(problem: Problem, settings: HalimiSettings) -> FloatTensors:
    if settings.reference is not None:
        different = sorted(set(settings.reference) ^ set(problem.start))
        if different:
            raise ConfigError(
                f"The reference does not fit the block at {different[0]!r}. Give the block's LoRA "
                "tensors, by bare name."
            )
        return settings.reference
    if problem.owner == SHARED:
        raise ConfigError(
            "halimi in a shared layout needs a reference, the average of the others. Set it to "
            "reference_without(average, own, members)."
        )
    shapes = {name: tuple(value.shape) for name, value in problem.start.items()}
    return materialize({}, shapes, parameters=problem.parameters, owner=problem.owner)
