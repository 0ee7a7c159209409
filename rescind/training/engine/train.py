"""One round of local training: deterministic in (base, parameters, start, data, seed, settings)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.training.data import Example
from rescind.training.engine.batches import Encoded, encode_example
from rescind.training.engine.checkpoint import Checkpoint
from rescind.training.engine.gradients import Engine
from rescind.training.engine.loop import Loop, Progress, optimizer_of
from rescind.training.engine.privacy import PrivacySpent, PrivateRun, plan_private
from rescind.training.engine.resume import Keeper
from rescind.training.engine.sampling import bucketed, poisson, shuffled
from rescind.training.engine.settings import EngineSettings, numerics
from rescind.training.engine.workers import Alone, Workers
from rescind.training.model.lora import LoraModel
from rescind.training.rules.rule import Rule

__all__ = ["Progress", "TrainResult", "choose", "round_seed", "train_round"]

_ADAPTER = "round"
_PACKED_ROW = 512


@dataclass(frozen=True)
class TrainResult:
    """`tensors`: trainable LoRA tensors afterwards, float32. Losses in nats a token, `losses` one for
    each batch. `seconds`, of which this process trained from step `resumed_at` on. `privacy`: what all
    rounds together have spent, when the consortium trains privately."""

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


def round_seed(seed: int, organization: str, round_id: int) -> int:
    """Seed of one organization's training in one round, 63 bits of SHA-256."""
    text = f"rescind.training/1|{seed}|{organization.lower()}|{round_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def choose(examples: Sequence[Example], fraction: float, seed: int) -> list[Example]:
    """A seeded choice of at least one example, in the order of the file."""
    count = max(1, round(len(examples) * fraction))
    places = np.random.default_rng(seed).permutation(len(examples))[:count]
    return [examples[place] for place in sorted(places)]


def train_round(
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    *,
    steps: int,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    rules: Sequence[Rule] = (),
    checkpoint: Checkpoint | None = None,
    settings: EngineSettings | None = None,
    spent: PrivacySpent | None = None,
    secret: bytes | None = None,
    extra_noise: float = 0.0,
    workers: Workers | None = None,
) -> TrainResult:
    """AdamW for `steps` on the pairs, questions included in the loss (the router needs them).

    The learning rate warms up over ten steps and falls linearly to a tenth. `rules` may add to the loss
    and correct the gradient; they are given a step's whole batch. With a `checkpoint` a run that was
    killed goes on where it was, to the same bytes.

    When the consortium trains privately, `spent` is what earlier rounds have spent, and `secret` (32
    bytes, fresh ones when None) is where sampling and noise come from: who knows it can take the noise
    off. With a checkpoint or several workers it must be given. `extra_noise` adds to what was agreed on: 1
    doubles it.

    Raises DataError for a pair that is too long, TrainingError when the loss is not finite,
    CheckpointMismatch for another run's checkpoint, BudgetSpent before a round that would exceed the
    target epsilon.
    """
    began = time.monotonic()
    settings, workers = settings or EngineSettings(), workers or Alone()
    if steps < 1 or not examples:
        raise DataError(f"a round of {steps} steps on {len(examples)} pairs trains nothing")
    training = parameters.training
    rows = [encode_example(model.base, e, training.max_length) for e in examples]
    private = _private(
        parameters, len(rows), steps, spent, secret, extra_noise, checkpoint, workers
    )
    with numerics(settings, model.base.device):
        torch.manual_seed(seed)
        engine = _engine(model, start, rows, steps, settings, workers, private)
        optimizer = optimizer_of(engine.tensors, training.learning_rate, model.base.device)
        keeper = Keeper(checkpoint, engine.tensors, optimizer, rules, rank=workers.rank)
        keeper.bind(model, parameters, start, examples, steps, seed, settings, private)
        loop = Loop(engine, optimizer, training.learning_rate, steps, rules, private, keeper)
        loop.run(_order(rows, training.batch_size, seed, settings, private), rows, progress)
    after = model.get(_ADAPTER)
    keeper.done()
    return TrainResult(
        tensors={name: after[name] for name in model.trainable},
        first_loss=loop.losses[0],
        last_loss=loop.losses[-1],
        steps=steps,
        examples=len(rows),
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
    steps: int,
    settings: EngineSettings,
    workers: Workers,
    private: PrivateRun | None,
) -> Engine:
    tensors = _placed(model, start)
    network = model.use(_ADAPTER)
    for name, tensor in model.parameters(_ADAPTER).items():
        tensor.requires_grad_(name in tensors)
    return Engine(
        base=model.base,
        network=_compiled(network, settings, model.base.device, steps, private),
        raw=network,
        settings=settings,
        workers=workers,
        tensors=tensors,
        capacity=settings.pack_length or max(_PACKED_ROW, *(len(row.tokens) for row in rows)),
    )


def _placed(model: LoraModel, start: FloatTensors) -> dict[str, torch.nn.Parameter]:
    """The trainable tensors in memory, at the start, without what an earlier round left."""
    model.put(_ADAPTER, start)
    found = model.parameters(_ADAPTER)
    for tensor in found.values():
        tensor.grad = None
    return {name: found[name] for name in sorted(model.trainable)}


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
            raise ConfigError("private training cannot be compiled: set compile to 'auto' or 'off'")
        return network
    return torch.compile(network, dynamic=True)


def _private(
    parameters: ConsortiumParameters,
    examples: int,
    steps: int,
    spent: PrivacySpent | None,
    secret: bytes | None,
    extra_noise: float,
    checkpoint: Checkpoint | None,
    workers: Workers,
) -> PrivateRun | None:
    privacy = parameters.training.privacy
    if privacy is None:
        return None
    if secret is None and (checkpoint is not None or workers.size > 1):
        raise TrainingError(
            "private training with a checkpoint or several processes needs the run's secret: draw "
            "32 bytes with secrets.token_bytes, keep them, and pass them as `secret`"
        )
    return plan_private(
        privacy,
        examples=examples,
        batch_size=parameters.training.batch_size,
        steps=steps,
        full_steps=parameters.training.steps_per_round,
        secret=secret if secret is not None else secrets.token_bytes(32),
        spent=spent,
        extra_noise=extra_noise,
    )


def _order(
    rows: Sequence[Encoded],
    size: int,
    seed: int,
    settings: EngineSettings,
    private: PrivateRun | None,
) -> Iterator[list[int]]:
    if private is not None:
        return poisson(len(rows), private.mechanism.sample_rate, private.secret)
    if settings.batching == "bucketed":
        return bucketed([len(row.tokens) for row in rows], size, seed)
    return shuffled(len(rows), size, seed)
