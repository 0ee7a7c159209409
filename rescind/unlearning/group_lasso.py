"""GS-LoRA: bounded ascent with group sparsity (Zhao et al. 2024, arXiv 2403.11530; 2501.09705).

Here the block itself changes, not a fresh adapter beside it. So the groups whose norm is penalized
are the changes of each decoder layer's feed-forward tensors. Layers that hardly changed are
restored, and the registered delta changes the others only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import FloatTensors, l2_norm
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
from rescind.unlearning.selection import FEED_FORWARD, chosen, layer_of


@dataclass(frozen=True)
class GsLoraSettings(Settings):
    """Settings of GS-LoRA.

    Attributes:
        gamma: Beta of the paper.
        lasso: Alpha of the paper, the weight of the groups' norms.
        bound: Nats a token above which the forget term has no gradient, None for ln(vocabulary).
            The paper's 105 is on the scale of a face recognition loss.
        drop: Groups whose change has a smaller L2 norm are restored.
        modules: The modules that change.
    """

    gamma: float = 0.15
    lasso: float = 1e-4
    bound: float | None = None
    drop: float = 1e-3
    modules: Sequence[str] = FEED_FORWARD

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lasso < 0 or self.drop < 0:
            raise ConfigError(
                f"lasso is {self.lasso} and drop is {self.drop}. Both must be 0 or more."
            )
        if self.bound is not None and self.bound <= 0:
            raise ConfigError(
                f"bound is {self.bound}. It is a loss in nats a token and must be above 0."
            )


class GroupSparsity(Rule):
    """A rule that adds weight x the sum of the L2 norms of the groups' changes."""

    def __init__(
        self,
        groups: Mapping[int, Sequence[str]],
        start: Mapping[str, torch.Tensor],
        weight: float,
    ) -> None:
        self._groups, self._start, self._weight = groups, start, weight

    def penalty(self, tensors: Mapping[str, torch.nn.Parameter]) -> torch.Tensor | None:
        """Return the weighted sum of the groups' norms."""
        changes = ([tensors[n] - self._start[n] for n in group] for group in self._groups.values())
        return self._weight * losses.group_lasso(changes)


def layer_groups(names: Sequence[str]) -> dict[int, list[str]]:
    """Group names by decoder layer. Names outside all layers are group -1."""
    groups: dict[int, list[str]] = {}
    for name in sorted(names):
        layer = layer_of(name)
        groups.setdefault(-1 if layer is None else layer, []).append(name)
    return dict(sorted(groups.items()))


def without_small_groups(
    tensors: FloatTensors, start: FloatTensors, groups: Mapping[int, Sequence[str]], drop: float
) -> tuple[dict[str, NDArray[np.float32]], dict[int, float]]:
    """Restore every group whose change has a norm below `drop`; return tensors and all norms."""
    result = dict(tensors)
    norms = {}
    for group, names in groups.items():
        change = {n: tensors[n].astype(np.float64) - start[n] for n in names}
        norms[group] = l2_norm(change)
        if norms[group] < drop:
            result |= {n: np.array(start[n], dtype=np.float32) for n in names}
    return result, norms


@register(GsLoraSettings, source="GS-LoRA; Zhao et al. 2024, arXiv 2403.11530", needs_retain=True)
def gs_lora(problem: Problem, settings: GsLoraSettings) -> Outcome:
    """Ascend up to a bound with group sparsity. The report has `group_norms`, `touched_layers`."""
    model = problem.model
    names = chosen(model.trainable, settings.modules)
    groups = layer_groups(names)
    bound = settings.bound or math.log(model.base.model.config.vocab_size)
    device = model.base.device
    start = {n: torch.from_numpy(np.array(problem.start[n])).to(device) for n in names}

    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        now = trained["forget"]
        return losses.bounded_ascent(now.log_probs, now.counted, bound=bound)

    plan = Plan(term, names=names, rule=GroupSparsity(groups, start, settings.lasso))
    outcome = counter_train(problem, "gs_lora", settings, plan)
    tensors, norms = without_small_groups(outcome.tensors, problem.start, groups, settings.drop)
    report = {
        **outcome.report,
        "bound": bound,
        "group_norms": {str(group): norm for group, norm in norms.items()},
        "touched_layers": [group for group, norm in norms.items() if norm >= settings.drop],
    }
    return Outcome(outcome.method, tensors, report)
