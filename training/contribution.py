"""One organization's part in one round: from the adapter that it starts from to integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import (
    ConsortiumParameters,
    Quantized,
    Totals,
    block,
    materialize,
    owner,
    qualify,
    quantize,
)
from training.data import Example
from training.freezing import Freeze
from training.lora import LoraModel
from training.train import TrainResult, choose, round_seed, train_round


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
    trainer: Callable[..., TrainResult] = train_round,
    **engine: Any,
) -> Contribution:
    """Train from `adapter` and quantize what changed, `residual` added: the same integers for the same
    arguments on one machine. `engine`: further arguments of `trainer`, which is called as train_round.

    Tensors that are frozen in this round do not change, and their residual is kept for the next.
    """
    who = owner(parameters.layout, organization)
    start = materialize(block(adapter, who), parameters.shapes, parameters=parameters, owner=who)
    seed = round_seed(parameters.seed, organization, round_id)
    chosen = choose(examples, data_fraction, seed)
    frozen = parameters.frozen_in(round_id)
    if frozen:
        engine["rules"] = (*engine.get("rules", ()), Freeze(frozen))
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


def _with_still(
    quantized: Quantized,
    shapes: Mapping[str, tuple[int, ...]],
    residual: Mapping[str, NDArray[Any]],
) -> Quantized:
    delta = quantized.delta | {name: np.zeros(it, np.int32) for name, it in shapes.items()}
    kept = {name: residual[name] for name in shapes if name in residual}
    return replace(quantized, delta=dict(sorted(delta.items())), residual=quantized.residual | kept)
