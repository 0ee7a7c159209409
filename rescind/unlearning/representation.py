"""RMU: representation misdirection (Li et al. 2024, arXiv 2403.03218).

The hidden states of the forget set are steered to a fixed random direction, those of the retain set
are held in place, and only the feed-forward outputs of a few layers change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rescind.core.errors import ConfigError
from rescind.unlearning import losses
from rescind.unlearning.counter import (
    Plan,
    Settings,
    Views,
    counter_train,
)
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register
from rescind.unlearning.selection import FEED_FORWARD_OUT, chosen

_PUBLISHED_LAYER = 7


@dataclass(frozen=True)
class RmuSettings(Settings):
    """Settings of RMU.

    So few tensors change that without a `learning_rate` it is the consortium's whole one.

    Attributes:
        layer: The decoder layer, from 0, whose output is steered. It and the two before it change.
            None for 7, as published, or the middle layer of a model with fewer than 16.
        coefficient: The length of the control vector. The right length depends on the model's
            hidden states (2 to 300 in public code).
        relative: Whether `coefficient` is a multiple of the hidden states' mean length at the
            reference (adaptive RMU, Huu-Tien et al. 2024, arXiv 2408.06223, which takes 5).
        modules: The modules that change.
    """

    layer: int | None = None
    coefficient: float = 2.0
    relative: bool = False
    modules: Sequence[str] = FEED_FORWARD_OUT


def control_direction(width: int, seed: int) -> torch.Tensor:
    """Return a vector uniform in [0, 1)^width, scaled to length 1."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    direction = torch.rand(width, generator=generator)
    return torch.nn.functional.normalize(direction, dim=0)


@register(RmuSettings, source="RMU; Li et al. 2024, arXiv 2403.03218", needs_retain=True)
def rmu(problem: Problem, settings: RmuSettings) -> Outcome:
    """Misdirect the hidden states of the forget set.

    Raises:
        ConfigError: The base has no such layer, or no LoRA on `modules`.
    """
    config = problem.model.base.model.config
    depth = int(config.num_hidden_layers)
    layer = settings.layer if settings.layer is not None else min(_PUBLISHED_LAYER, depth // 2)
    if not 0 <= layer < depth:
        raise ConfigError(f"layer is {layer}. The base model has layers 0 to {depth - 1}.")
    layers = range(max(0, layer - 2), layer + 1)
    direction = control_direction(int(config.hidden_size), problem.seed)

    def forget(trained: Views, reference: Views) -> torch.Tensor:
        now = trained["forget"]
        length = torch.tensor(settings.coefficient)
        if settings.relative:
            length = settings.coefficient * _mean_length(_hidden(reference, "forget"), now.counted)
        control = length.to(now.logits.device) * direction.to(now.logits.device)
        return losses.misdirection(_hidden(trained, "forget"), control, now.counted)

    def retain(trained: Views, reference: Views) -> torch.Tensor:
        return losses.misdirection(
            _hidden(trained, "retain"), _hidden(reference, "retain"), trained["retain"].counted
        )

    plan = Plan(
        forget,
        retain,
        reference=("forget", "retain") if settings.relative else ("retain",),
        layer=layer,
        rate=1.0,
        names=chosen(problem.model.trainable, settings.modules, layers),
    )
    outcome = counter_train(problem, "rmu", settings, plan)
    report = {**outcome.report, "layer": layer, "changed": list(plan.names or ())}
    return Outcome(outcome.method, outcome.tensors, report)


def _hidden(views: Views, name: str) -> torch.Tensor:
    hidden = views[name].hidden
    assert hidden is not None  # the plan names a layer
    return hidden


def _mean_length(hidden: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return losses.over_counted(hidden.norm(dim=-1), counted)
