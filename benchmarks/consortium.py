"""A consortium in one process: the same training, integers, weights and sums as the daemons', without
network and chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from benchmarks.conditions import clock
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Coupling,
    Layout,
    LoraParameters,
    TrainingParameters,
)
from rescind.forgetting.history import (
    Entry,
    History,
    Task,
    TrainedDelta,
)
from rescind.training import Base, EngineSettings, Example, LoraModel, RoundTraining
from rescind.training.engine.contribution import contribute

_ANY_SIZE = 2**44
_LEAST_ARTIFACT_BYTES = 2**30
"""The limit of small models, one for all sizes, so that their parameters keep their ids."""


class Recipe(BaseModel):
    """How a consortium of a benchmark trains. `steps`: of one organization in one round."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coupling: Coupling
    layout: Layout
    rank: int
    alpha: int
    train_a: bool
    rounds: int
    steps: int
    batch_size: int
    learning_rate: float
    max_length: int = 256
    alternate: bool = False
    extra: dict[str, Any] = {}

    def parameters(self, base: Base, seed: int) -> tuple[ConsortiumParameters, LoraModel]:
        lora = LoraParameters(
            rank=self.rank, alpha=self.alpha, train_a=self.train_a, alternate=self.alternate
        )
        model = LoraModel(base, lora)
        agreed = ConsortiumParameters(
            name="benchmark",
            base_model_id=base.id,
            coupling=self.coupling,
            layout=self.layout,
            seed=seed,
            lora=lora,
            training=TrainingParameters(
                steps_per_round=self.steps,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                max_length=self.max_length,
            ),
            text=base.text,
            fraction_bits=20,
            clip_norm=256.0,
            max_artifact_bytes=_ANY_SIZE,
            shapes=model.shapes,
            **self.extra,
        )
        largest = max(_LEAST_ARTIFACT_BYTES, agreed.artifact_limits.largest)
        return agreed.model_copy(update={"max_artifact_bytes": largest}), model


def address(name: str) -> str:
    """A stand-in for an organization's address: 20 bytes of the SHA-256 of its name."""
    return f"0x{hashlib.sha256(name.encode()).hexdigest()[:40]}"


@dataclass
class Trainer:
    """Trains the tasks of a history on each organization's data, by address; counts what it took."""

    model: LoraModel
    parameters: ConsortiumParameters
    data: Mapping[str, Sequence[Example]]
    say: Callable[[str], None] = lambda _: None
    engine: EngineSettings = field(default_factory=EngineSettings)
    tokens: int = 0
    seconds: float = 0.0

    def __call__(self, task: Task) -> TrainedDelta:
        entry = task.entry
        began = clock()
        done = contribute(
            self.model,
            self.parameters,
            entry.organization,
            entry.round_id,
            task.adapter,
            self.data[entry.organization],
            task.residual,
            RoundTraining(steps=entry.steps, settings=self.engine),
            data_fraction=entry.data_fraction,
            past=task.past,
        )
        took = clock() - began
        self.tokens += done.result.tokens
        self.seconds += took
        self.say(
            f"round {entry.round_id} {entry.organization[:8]} loss {done.result.first_loss:.3f} -> "
            f"{done.result.last_loss:.3f}, {done.result.tokens / took:.0f} tokens/s"
        )
        quantized = done.quantized
        return TrainedDelta(quantized.delta, quantized.residual, done.result.tokens, took)


def schedule(organizations: Sequence[str], rounds: int, steps: int) -> list[Entry]:
    """Everybody takes part in every round, as much as it can."""
    return [Entry(number, who, steps) for number in range(1, rounds + 1) for who in organizations]


def history(parameters: ConsortiumParameters, folder: Path) -> History:
    return History(parameters, ArtifactStore(folder))
