"""One unlearning problem and its outcome: the interface that every method of counter-training, and
every method without training, is written against."""

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
    """An adapter, what it is to forget, and what it is to keep.

    `owner`: the block that is changed (`adapters.SHARED` in a shared layout). `start`: all of the
    block's LoRA tensors by bare name, float32, as served. `forget`, `retain`: disjoint; a method that
    needs no retain set is given whatever there is. `own`: when given, what the organization holds;
    the forget set must come from it. `unseen`: pairs of the same kind that nobody ever trained on,
    against which over-unlearning shows.
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
            raise DataError("the forget set is empty: name a subject whose data is there")
        both = set(self.forget) & set(self.retain)
        if both:
            question = next(iter(both)).question
            raise DataError(
                f"forget set and retain set overlap in {len(both)} pairs, {question[:60]!r} for "
                "one: a pair can only be in one of them"
            )
        if self.own is not None:
            foreign = [e for e in self.forget if e not in set(self.own)]
            if foreign:
                raise DataError(
                    f"{len(foreign)} pairs of the forget set are not the organization's own, "
                    f"{foreign[0].question[:60]!r} for one: only one's own data can be withdrawn"
                )
        known = set(self.unseen) & (set(self.forget) | set(self.retain))
        if known:
            raise DataError(
                f"{len(known)} pairs given as unseen are in the forget or the retain set, "
                f"{next(iter(known)).question[:60]!r} for one: leave them out of unseen"
            )


@dataclass(frozen=True)
class Outcome:
    """`tensors`: the block's trainable LoRA tensors afterwards, float32, by bare name. `report`: what
    the evidence says of the work: losses, steps, seconds, what was selected."""

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
    """The outcome as the integers that are registered: what it changes, clipped and rounded.

    Raises NotFinite when the outcome is not finite, TrainingError when it changes nothing.
    """
    update = {
        qualify(problem.owner, name): value.astype(np.float64) - problem.start[name]
        for name, value in outcome.tensors.items()
    }
    parameters = problem.parameters
    found = quantize(
        update, None, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm
    )
    if not any(value.any() for value in found.delta.values()):
        raise TrainingError(f"{outcome.method} changes nothing: there is no delta to register")
    return found
