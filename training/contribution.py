"""One organization's part in one round: from the adapter that it starts from to integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    arguments on one machine. `engine`: further arguments of `trainer`, which is called as train_round."""
    who = owner(parameters.layout, organization)
    start = materialize(block(adapter, who), parameters.shapes, parameters=parameters, owner=who)
    seed = round_seed(parameters.seed, organization, round_id)
    chosen = choose(examples, data_fraction, seed)
    result = trainer(model, parameters, start, chosen, steps=steps, seed=seed, **engine)
    update = {
        qualify(who, name): value.astype(np.float64) - start[name]
        for name, value in result.tensors.items()
    }
    quantized = quantize(
        update,
        residual,
        fraction_bits=parameters.fraction_bits,
        clip_norm=parameters.clip_norm,
    )
    return Contribution(quantized, result, tuple(chosen))
