"""One organization's part in one round: train from an adapter, then quantize the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    FloatTensors,
    Past,
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
from rescind.core.round_sums import controls
from rescind.training.data import Example
from rescind.training.engine.choice import choose, round_seed
from rescind.training.engine.round import RoundTraining
from rescind.training.engine.schedule import StepRate
from rescind.training.engine.train import Trainer, TrainResult, train_round
from rescind.training.model.lora import LoraModel
from rescind.training.rules.freezing import Freeze
from rescind.training.rules.proximal import Proximal
from rescind.training.rules.rule import Rule
from rescind.training.rules.scaffold import Scaffold


@dataclass(frozen=True)
class Contribution:
    """A quantized delta, the result of its training, and the examples that it was trained on.

    Attributes:
        quantized: The delta; in a split coupling that of the private ranks.
        result: The training's result.
        examples: The examples.
        shared: The delta of the shared ranks, in a split coupling.
    """

    quantized: Quantized
    result: TrainResult
    examples: tuple[Example, ...]
    shared: Quantized | None = None


def contribute(
    model: LoraModel,
    parameters: ConsortiumParameters,
    organization: str,
    round_id: int,
    adapter: Totals,
    examples: Sequence[Example],
    residual: Mapping[str, NDArray[Any]] | None,
    training: RoundTraining,
    *,
    data_fraction: float = 1.0,
    past: Past | None = None,
    trainer: Trainer = train_round,
) -> Contribution:
    """Train from an adapter and quantize the change: the same integers for the same arguments.

    That holds on one machine. Tensors that are frozen in this round do not change, and their
    residual is kept for the next.

    Args:
        model: The base model with its LoRA adapters.
        parameters: What the consortium agreed on. Its client rules are appended to those of
            `training`.
        organization: The address of the organization.
        round_id: The number of the round.
        adapter: The totals that the round starts from.
        examples: All examples that the organization may train on.
        residual: What rounding lost in the round before, to be added to the change.
        training: How to train. Its seed is replaced with that of the organization and round.
        data_fraction: The share of `examples` to train on, above 0 and at most 1.
        past: The rounds before and the organization's own deltas in them. SCAFFOLD needs it.
        trainer: Trains the round.

    Raises:
        TrainingError: SCAFFOLD is agreed on, and `past` is missing or the steps are not all of a
            round's.
    """
    block_owner = owner(parameters.layout, organization)
    start = materialize(
        block(adapter, block_owner), parameters.shapes, parameters=parameters, owner=block_owner
    )
    seed = round_seed(parameters.seed, organization, round_id)
    chosen = choose(examples, data_fraction, seed)
    frozen = parameters.frozen_in(round_id)
    agreed = _agreed(parameters, organization, start, past, training.steps, frozen)
    training = replace(training, seed=seed, rules=(*training.rules, *agreed))
    result = trainer(model, parameters, start, chosen, training)
    update = {
        qualify(block_owner, name): value.astype(np.float64) - start[name]
        for name, value in result.tensors.items()
        if name not in frozen
    }
    quantized = quantize(
        update,
        residual,
        fraction_bits=parameters.fraction_bits,
        clip_norm=parameters.clip_norm,
    )
    still = {qualify(block_owner, name): parameters.shapes[name] for name in frozen}
    return Contribution(_with_still(quantized, still, residual or {}), result, tuple(chosen))


def _agreed(
    parameters: ConsortiumParameters,
    organization: str,
    start: FloatTensors,
    past: Past | None,
    steps: int,
    frozen: frozenset[str],
) -> list[Rule]:
    """Return the client rules that the consortium's parameters ask for in this round."""
    agreed = parameters.training.rule
    rules: list[Rule] = [Freeze(frozen)] if frozen else []
    if isinstance(agreed, ProximalRule):
        rules.append(Proximal(start, agreed.mu))
    elif isinstance(agreed, ScaffoldRule):
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
            f"You asked for {steps} steps with scaffold. Its control variates compare rounds of "
            f"equal length: train all {training.steps_per_round} steps."
        )
    if past is None:
        raise TrainingError(
            "SCAFFOLD needs the sums of the earlier rounds and the organization's own deltas in "
            "them. Give `past`."
        )
    rate = StepRate(training.learning_rate, steps)
    variates = controls(parameters, past, organization, travel=rate.travel)
    server, own = ({n: v for n, v in each.items() if n not in frozen} for each in variates)
    return Scaffold(server, own, rate)


def _with_still(
    quantized: Quantized,
    shapes: Mapping[str, tuple[int, ...]],
    residual: Mapping[str, NDArray[Any]],
) -> Quantized:
    """Add zero deltas for frozen tensors, and keep their residuals."""
    delta = quantized.delta | {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
    kept = {name: residual[name] for name in shapes if name in residual}
    return replace(quantized, delta=dict(sorted(delta.items())), residual=quantized.residual | kept)
