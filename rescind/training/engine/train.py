"""One round of local training: deterministic in (base, parameters, start, data, seed, settings)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.training.data import Example
from rescind.training.engine.batches import Encoded, encode_rows
from rescind.training.engine.gradients import Engine
from rescind.training.engine.loop import Loop, optimizer_of
from rescind.training.engine.privacy import SECRET_BYTES, PrivacySpent, PrivateRun, plan_private
from rescind.training.engine.resume import Keeper
from rescind.training.engine.round import Progress, RoundPrivacy, RoundTraining
from rescind.training.engine.sampling import bucketed, poisson, shuffled
from rescind.training.engine.settings import EngineSettings, numerics
from rescind.training.model.lora import LoraModel
from rescind.training.model.out_of_memory import TRAINING_ADVICE, memory_explained

__all__ = [
    "Progress",
    "RoundPrivacy",
    "RoundTraining",
    "TrainResult",
    "Trainer",
    "train_round",
]

_ADAPTER = "round"
_PACKED_ROW = 512
"""Tokens of a packed row at least: enough to hold several short pairs, little enough for the memory
that a row's square attention mask takes."""


@dataclass(frozen=True)
class TrainResult:
    """The outcome of one round of training.

    Attributes:
        tensors: Trainable LoRA tensors afterwards, float32, by bare name.
        first_loss: Of the first batch, in nats a token.
        last_loss: Of the last batch, in nats a token.
        steps: Optimizer steps.
        examples: Pairs trained on.
        tokens: Tokens that the loss counted.
        seconds: Spent by this process, which trained from step `resumed_at` on.
        losses: One for each batch, in nats a token.
        resumed_at: The step of the checkpoint that the run continued from, or 0.
        privacy: The budget that all rounds together have spent, when the consortium trains
            privately.
    """

    tensors: dict[str, NDArray[np.float32]]
    first_loss: float
    last_loss: float
    steps: int
    examples: int
    tokens: int
    seconds: float
    losses: tuple[float, ...] = ()
    resumed_at: int = 0
    privacy: PrivacySpent | None = None


class Trainer(Protocol):
    """A function that trains one round, as `train_round` does."""

    def __call__(
        self,
        model: LoraModel,
        parameters: ConsortiumParameters,
        start: FloatTensors,
        examples: Sequence[Example],
        training: RoundTraining,
    ) -> TrainResult:
        """Train from `start` on `examples`."""
        ...


@memory_explained("training", TRAINING_ADVICE)
def train_round(
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    training: RoundTraining,
) -> TrainResult:
    """Train the LoRA tensors with AdamW on question-answer pairs.

    Questions count in the loss too unless the members agreed otherwise, because the router needs
    them. A document longer than `max_length` becomes several rows. The learning rate follows
    `schedule.rate_factor`. With a checkpoint, a run that was killed continues where it was, to the
    same bytes.

    Args:
        model: The base model with its LoRA adapters.
        parameters: What the consortium agreed on.
        start: The LoRA tensors that the round starts from, by bare name.
        examples: The pairs to train on.
        training: How to train this round.

    Raises:
        DataError: There is nothing to train on, or a pair is too long.
        TrainingError: The loss is not finite, a private run needs a secret, or the base model's
            tokenizer cannot do what the text rules say.
        OutOfMemory: The machine or the GPU has not enough memory.
        CheckpointMismatch: The checkpoint belongs to another run.
        BudgetSpent: The round would exceed the target epsilon. Nothing has been trained.
    """
    began = time.monotonic()
    steps, settings = training.steps, training.settings
    if steps < 1 or not examples:
        raise DataError(
            f"A round of {steps} steps on {len(examples)} pairs trains nothing. "
            "Give at least 1 step and 1 pair."
        )
    agreed = parameters.training
    model.read_as(parameters.text)
    rows = encode_rows(model.base, examples, agreed.max_length)
    private = _private(parameters, len(rows), training)
    with numerics(settings, model.base.device):
        torch.manual_seed(training.seed)
        engine = _engine(model, start, rows, training, private)
        optimizer = optimizer_of(engine.tensors, agreed.learning_rate, model.base.device)
        keeper = Keeper(training, engine.tensors, optimizer)
        keeper.bind(model, parameters, start, examples, private)
        loop = Loop(engine, optimizer, agreed.learning_rate, training, private, keeper)
        loop.run(_order(rows, agreed.batch_size, training, private), rows)
    after = model.get(_ADAPTER)
    keeper.done()
    return TrainResult(
        tensors={name: after[name] for name in model.trainable},
        first_loss=loop.losses[0],
        last_loss=loop.losses[-1],
        steps=steps,
        examples=len(examples),
        tokens=loop.tokens,
        seconds=time.monotonic() - began,
        losses=tuple(loop.losses),
        resumed_at=loop.resumed_at,
        privacy=private.after if private else None,
    )


def _engine(
    model: LoraModel,
    start: FloatTensors,
    rows: Sequence[Encoded],
    training: RoundTraining,
    private: PrivateRun | None,
) -> Engine:
    settings = training.settings
    tensors = _load(model, start)
    network = model.use(_ADAPTER)
    for name, tensor in model.parameters(_ADAPTER).items():
        tensor.requires_grad_(name in tensors)
    return Engine(
        base=model.base,
        network=_compiled(network, settings, model.base.device, training.steps, private),
        raw=network,
        settings=settings,
        workers=training.workers,
        tensors=tensors,
        capacity=settings.pack_length or max(_PACKED_ROW, *(len(row.tokens) for row in rows)),
    )


def _load(model: LoraModel, start: FloatTensors) -> dict[str, torch.nn.Parameter]:
    """Load the start into the model and return its trainable tensors, without earlier gradients."""
    model.put(_ADAPTER, start)
    tensors = model.parameters(_ADAPTER)
    for tensor in tensors.values():
        tensor.grad = None
    return {name: tensors[name] for name in sorted(model.trainable)}


def _compiled(
    network: Any,
    settings: EngineSettings,
    device: torch.device,
    steps: int,
    private: PrivateRun | None,
) -> Any:
    if not settings.compiles(device, steps):
        return network
    if private is not None:
        if settings.compile == "on":
            raise ConfigError(
                "Engine setting compile is 'on', but private training cannot be compiled. "
                "Set compile to 'auto' or 'off'."
            )
        return network
    return torch.compile(network, dynamic=True)


def _private(
    parameters: ConsortiumParameters, examples: int, training: RoundTraining
) -> PrivateRun | None:
    agreed, private = parameters.training.privacy, training.privacy
    if agreed is None:
        return None
    shared = training.checkpoint is not None or training.workers.size > 1
    if private.secret is None and shared:
        raise TrainingError(
            "Private training with a checkpoint or several processes needs the run's secret. Draw "
            f"{SECRET_BYTES} bytes with secrets.token_bytes, keep them, and pass them as "
            "RoundPrivacy(secret=...)."
        )
    return plan_private(
        agreed,
        examples=examples,
        batch_size=parameters.training.batch_size,
        steps=training.steps,
        full_steps=parameters.training.steps_per_round,
        secret=private.secret if private.secret is not None else secrets.token_bytes(SECRET_BYTES),
        spent=private.spent,
        extra_noise=private.extra_noise,
    )


def _order(
    rows: Sequence[Encoded], size: int, training: RoundTraining, private: PrivateRun | None
) -> Iterator[list[int]]:
    if private is not None:
        return poisson(len(rows), private.mechanism.sample_rate, private.secret)
    if training.settings.batching == "bucketed":
        return bucketed([len(row.tokens) for row in rows], size, training.seed)
    return shuffled(len(rows), size, training.seed)
