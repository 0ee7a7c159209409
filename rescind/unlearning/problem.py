"""An unlearning problem and its outcome: the interface of all unlearning methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    FloatTensors,
    Quantized,
    qualify,
    quantize,
)
from rescind.core.errors import DataError, TrainingError

if TYPE_CHECKING:
    from rescind.training import Example, LoraModel, Progress


@dataclass(frozen=True)
class Problem:
    """An adapter, with the data that it must forget and the data that it must keep.

    Attributes:
        model: The base model.
        parameters: What the consortium agreed on.
        owner: The owner of the block to change; `core.SHARED` in a shared layout.
        start: All LoRA tensors of the block by bare name, float32, as served.
        forget: Pairs to forget, at least one.
        retain: Pairs to keep, disjoint from `forget`. Methods that need none ignore them.
        seed: Of everything random.
        own: All pairs of the organization, when given. The forget set must come from them.
        progress: Called after each step.
        unseen: Pairs of the same kind that no one trained on. They reveal over-unlearning.

    Raises:
        DataError: The sets do not fit together.
    """

    model: LoraModel
    parameters: ConsortiumParameters
    owner: str
    start: FloatTensors
    forget: Sequence[Example]
    retain: Sequence[Example]
    seed: int
    own: Sequence[Example] | None = None
    progress: Callable[[Progress], None] | None = None
    unseen: Sequence[Example] = ()

    def __post_init__(self) -> None:
        if not self.forget:
            raise DataError("The forget set is empty. Name a subject that your data has.")
        both = set(self.forget) & set(self.retain)
        if both:
            question = next(iter(both)).question
            raise DataError(
                f"The forget set and the retain set overlap in {len(both)} pairs, for example "
                f"{question[:60]!r}. Remove each pair from one of them."
            )
        if self.own is not None:
            foreign = [e for e in self.forget if e not in set(self.own)]
            if foreign:
                raise DataError(
                    f"{len(foreign)} pairs of the forget set are not the organization's own, for "
                    f"example {foreign[0].question[:60]!r}. You can only withdraw your own data."
                )
        known = set(self.unseen) & (set(self.forget) | set(self.retain))
        if known:
            raise DataError(
                f"{len(known)} pairs given as unseen are in the forget or the retain set, for "
                f"example {next(iter(known)).question[:60]!r}. Leave them out of unseen."
            )
        self.model.read_as(self.parameters.text)


@dataclass(frozen=True)
class Outcome:
    """The outcome of an unlearning method.

    Attributes:
        method: The method's name.
        tensors: The block's trainable LoRA tensors afterwards, float32, by bare name.
        report: What the evidence says about the work: losses, steps, seconds, selected tensors.
    """

    method: str
    tensors: Mapping[str, NDArray[np.float32]]
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """An unlearning method. `registry.register` explains its fields."""

    name: str
    run: Callable[[Problem, Any], Outcome]
    settings: type
    source: str
    needs_retain: bool
    trains: bool
    forgets_subjects: bool


def counter_delta(problem: Problem, outcome: Outcome) -> Quantized:
    """Return the change of an outcome, clipped and rounded to the integers that are registered.

    Raises:
        NotFinite: The outcome is not finite.
        TrainingError: The outcome changes nothing.
    """
    update = {
        qualify(problem.owner, name): value.astype(np.float64) - problem.start[name]
        for name, value in outcome.tensors.items()
    }
    parameters = problem.parameters
    quantized = quantize(
        update, None, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm
    )
    if not any(value.any() for value in quantized.delta.values()):
        raise TrainingError(f"{outcome.method} changes nothing, so there is no delta to register.")
    return quantized
