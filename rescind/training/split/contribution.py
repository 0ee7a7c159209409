"""One organization's part in one round of a split coupling, with both of its deltas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    Quantized,
    Totals,
    split_owner,
)
from rescind.core.errors import ConfigError, DataError
from rescind.core.split_settings import PARTS, Part
from rescind.training.data import Example
from rescind.training.engine.choice import choose, round_seed
from rescind.training.engine.contribution import Contribution
from rescind.training.engine.round import Progress
from rescind.training.engine.train import TrainResult
from rescind.training.model.lora import LoraModel
from rescind.training.split.parts import part_owner, split_delta_shapes
from rescind.training.split.plan import Label
from rescind.training.split.train import SplitResult, contribute_split


def contribute_both(
    model: LoraModel,
    parameters: ConsortiumParameters,
    organization: str,
    round_id: int,
    adapter: Totals,
    examples: Sequence[Example],
    public: Collection[str],
    residual: Mapping[str, NDArray[Any]] | None,
    *,
    steps: int,
    data_fraction: float = 1.0,
    progress: Callable[[Progress], None] | None = None,
) -> Contribution:
    """Train private and shared ranks from an adapter, and quantize the change of each.

    A part that the organization has no data for has a delta of zeros. The shared ranks' delta is a
    function of the public examples, the shared ranks in `adapter`, the steps and the seed alone where
    all public data trains in retain mode.

    Args:
        model: The base model with its LoRA adapters.
        parameters: What the consortium agreed on.
        organization: The address of the organization.
        round_id: The number of the round.
        adapter: The totals that the round starts from: the organization's block and the shared ranks.
        examples: All examples that the organization may train on.
        public: The subjects whose examples are public. All others are revocable.
        residual: What rounding lost in the round before, of both parts.
        steps: Steps of the round.
        data_fraction: The share of the public examples, and of the others, to train on.
        progress: Is called after each step.

    Raises:
        ConfigError: The consortium has not agreed on a split.
        DataError: There is no example.
    """
    settings = parameters.split
    if settings is None:
        raise ConfigError("the consortium has not agreed on a split. Train with `contribute`.")
    if not examples:
        raise DataError("there is no example to train on: all are of withdrawn subjects")
    seed = round_seed(parameters.seed, organization, round_id)
    chosen, labels = _chosen(examples, public, data_fraction, seed)
    opened, revocable = settings.steps(steps)
    given = contribute_split(
        model,
        parameters,
        settings,
        organization,
        adapter,
        chosen,
        labels,
        {part: _own(residual or {}, part_owner(organization, part)) for part in PARTS},
        open_steps=opened if "public" in labels else 0,
        revocable_steps=revocable if "revocable" in labels else 0,
        seed=seed,
        progress=progress,
    )
    trained: dict[Part, Quantized | None] = {"own": given.own, "shared": given.shared}
    deltas: dict[Part, Quantized] = {}
    for part, quantized in trained.items():
        shapes = split_delta_shapes(parameters, settings, organization, part)
        deltas[part] = quantized or _still(shapes, residual or {})
    result = _result(given.result, len(chosen))
    return Contribution(deltas["own"], result, tuple(chosen), deltas["shared"])


def label_of(example: Example, public: Collection[str]) -> Label:
    """Return an example's label: public if its subject is among the public ones."""
    return "public" if example.subject in public else "revocable"


def _chosen(
    examples: Sequence[Example], public: Collection[str], fraction: float, seed: int
) -> tuple[list[Example], list[Label]]:
    """Choose among the examples of each label by themselves: no choice depends on the others."""
    chosen: list[Example] = []
    labels: list[Label] = []
    kinds: tuple[Label, ...] = ("public", "revocable")
    for label in kinds:
        own = [example for example in examples if label_of(example, public) == label]
        picked = choose(own, fraction, seed) if own else []
        chosen += picked
        labels += [label] * len(picked)
    return chosen, labels


def _own(tensors: Mapping[str, NDArray[Any]], owner: str) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in tensors.items() if split_owner(name)[0] == owner}


def _still(
    shapes: Mapping[str, tuple[int, ...]], residual: Mapping[str, NDArray[Any]]
) -> Quantized:
    """Return a delta that changes nothing, and keep the residual for the next."""
    delta = {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
    kept = {name: residual[name] for name in shapes if name in residual}
    return Quantized(delta, kept, 0.0, clipped=False)


def _result(result: SplitResult, examples: int) -> TrainResult:
    losses = result.losses
    return TrainResult(
        tensors={},
        first_loss=losses[0],
        last_loss=losses[-1],
        steps=len(losses),
        examples=examples,
        tokens=result.tokens,
        seconds=result.seconds,
        losses=losses,
    )
