"""One organization's part in one round: from the adapter that it starts from to integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    FloatTensors,
    Quantized,
    Totals,
    block,
    materialize,
    owner,
    qualify,
    quantize,
)
from rescind.core.agreed_rules import ProximalRule, ScaffoldRule
from rescind.core.errors import TrainingError
from rescind.core.round_sums import Past, controls
from rescind.training.data import Example
from rescind.training.engine.loop import rate
from rescind.training.engine.train import (
    TrainResult,
    choose,
    round_seed,
    train_round,
)
from rescind.training.model.lora import LoraModel
from rescind.training.rules.freezing import Freeze
from rescind.training.rules.proximal import Proximal
from rescind.training.rules.rule import Rule
from rescind.training.rules.scaffold import Scaffold


@dataclass(frozen=True)
class Contribution:
    """`examples`: those of the organization's that the round was trained on."""

    quantized: Quantized
    result: TrainResult
    examples: tuple[Example, ...]


def contribute(
    model: LoraModel,
    parameters: ConsortiumParameters,
    organization: str,
    round_id: int,
    adapter: Totals,
    examples: Sequence[Example],
    residual: Mapping[str, NDArray[Any]] | None,
    *,
    steps: int,
    data_fraction: float = 1.0,
    past: Past | None = None,
    trainer: Callable[..., TrainResult] = train_round,
    **engine: Any,
) -> Contribution:
    """Train from `adapter` and quantize what changed, `residual` added: the same integers for the same
    arguments on one machine. `engine`: further arguments of `trainer`, which is called as train_round.
    `past`: the rounds before and one's own deltas in them, which SCAFFOLD is derived from.

    Tensors that are frozen in this round do not change, and their residual is kept for the next.
    Raises TrainingError when SCAFFOLD is agreed on and there is no `past`, or `steps` are not all.
    """
    who = owner(parameters.layout, organization)
    start = materialize(block(adapter, who), parameters.shapes, parameters=parameters, owner=who)
    seed = round_seed(parameters.seed, organization, round_id)
    chosen = choose(examples, data_fraction, seed)
    frozen = parameters.frozen_in(round_id)
    rules = _agreed(parameters, organization, start, past, steps, frozen)
    if rules:
        engine["rules"] = (*engine.get("rules", ()), *rules)
    result = trainer(model, parameters, start, chosen, steps=steps, seed=seed, **engine)
    update = {
        qualify(who, name): value.astype(np.float64) - start[name]
        for name, value in result.tensors.items()
        if name not in frozen
    }
    quantized = quantize(
        update,
        residual,
        fraction_bits=parameters.fraction_bits,
        clip_norm=parameters.clip_norm,
    )
    still = {qualify(who, name): parameters.shapes[name] for name in frozen}
    return Contribution(_with_still(quantized, still, residual or {}), result, tuple(chosen))


@dataclass(frozen=True)
class StepRate:
    """The learning rate of each of `steps` steps."""

    learning_rate: float
    steps: int

    def __call__(self, step: int) -> float:
        return self.learning_rate * rate(step, self.steps)

    @property
    def travel(self) -> float:
        return sum(self(step) for step in range(self.steps))


def _agreed(
    parameters: ConsortiumParameters,
    organization: str,
    start: FloatTensors,
    past: Past | None,
    steps: int,
    frozen: frozenset[str],
) -> list[Rule]:
    """What the consortium's parameters add to the steps of this round."""
    rule = parameters.training.rule
    rules: list[Rule] = [Freeze(frozen)] if frozen else []
    if isinstance(rule, ProximalRule):
        rules.append(Proximal(start, rule.mu))
    elif isinstance(rule, ScaffoldRule):
        rules.append(_scaffold(parameters, organization, past, steps, frozen))
    return rules


def _scaffold(
    parameters: ConsortiumParameters,
    organization: str,
    past: Past | None,
    steps: int,
    frozen: frozenset[str],
) -> Scaffold:
    training = parameters.training
    if steps != training.steps_per_round:
        raise TrainingError(
            f"{steps} steps with scaffold: its control variates compare rounds of equal length, "
            f"train all {training.steps_per_round} steps"
        )
    if past is None:
        raise TrainingError(
            "scaffold needs the sums of the rounds before and one's own deltas in them: give `past`"
        )
    pace = StepRate(training.learning_rate, steps)
    found = controls(parameters, past, organization, travel=pace.travel)
    server, own = ({n: v for n, v in it.items() if n not in frozen} for it in found)
    return Scaffold(server, own, pace)


def _with_still(
    quantized: Quantized,
    shapes: Mapping[str, tuple[int, ...]],
    residual: Mapping[str, NDArray[Any]],
) -> Quantized:
    delta = quantized.delta | {name: np.zeros(it, np.int32) for name, it in shapes.items()}
    kept = {name: residual[name] for name in shapes if name in residual}
    return replace(quantized, delta=dict(sorted(delta.items())), residual=quantized.residual | kept)
