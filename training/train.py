"""One round of local training: deterministic in (base, parameters, start, data, seed, settings)."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters import ConsortiumParameters, FloatTensors
from adapters.errors import ConfigError, DataError, TrainingError
from training.batches import Encoded, encode_example
from training.checkpoint import Checkpoint
from training.data import Example
from training.gradients import Engine, GradientSource, counted_tokens, gradient, gradient_source
from training.gradients import recomputing as recomputing_layers
from training.lora import LoraModel
from training.privacy import PrivacySpent, PrivateRun, plan_private
from training.resume import Keeper
from training.rules import Rule
from training.sampling import bucketed, poisson, shuffled
from training.settings import EngineSettings, numerics
from training.speed import Speed
from training.workers import Alone, Workers

_ADAPTER = "round"
_WARM_UP = 10
_PACKED_ROW = 512


@dataclass(frozen=True)
class Progress:
    """After `step` of `steps`. `loss`: of the step's batch, nats a token; of the last batch that was
    not empty. `tokens_per_second`: tokens that the loss counts, smoothed over about ten steps."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float


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


@dataclass
class _Loop:
    """What changes from step to step."""

    step: int
    tokens: int
    losses: list[float]


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
    workers: Workers | None = None,
) -> TrainResult:
    """AdamW for `steps` on the pairs, questions included in the loss (the router needs them).

    The learning rate warms up over ten steps and falls linearly to a tenth. `rules` may add to the loss
    and correct the gradient; they are given a step's whole batch. With a `checkpoint` a run that was
    killed goes on where it was, to the same bytes.

    When the consortium trains privately, `spent` is what earlier rounds have spent, and `secret` (32
    bytes, fresh ones when None) is where sampling and noise come from: who knows it can take the noise
    off. With a checkpoint or several workers it must be given.

    Raises DataError for a pair that is too long, TrainingError when the loss is not finite,
    CheckpointMismatch for another run's checkpoint, BudgetSpent before a round that would exceed the
    target epsilon.
    """
    began = time.monotonic()
    settings, workers = settings or EngineSettings(), workers or Alone()
    device = model.base.device
    if steps < 1 or not examples:
        raise DataError(f"a round of {steps} steps on {len(examples)} pairs trains nothing")
    rows = [encode_example(model.base, e, parameters.training.max_length) for e in examples]
    private = _private(parameters, len(rows), steps, spent, secret, checkpoint, workers)
    with numerics(settings, device):
        torch.manual_seed(seed)
        tensors = _placed(model, start)
        optimizer = _optimizer(tensors, parameters.training.learning_rate, device)
        keeper = Keeper(checkpoint, tensors, optimizer, rules, rank=workers.rank)
        keeper.bind(model, parameters, start, examples, steps, seed, settings, private)
        raw = model.use(_ADAPTER)
        engine = Engine(
            base=model.base,
            network=_compiled(raw, settings, device, steps, private),
            raw=raw,
            settings=settings,
            workers=workers,
            tensors=tensors,
            capacity=settings.pack_length or max(_PACKED_ROW, *(len(row.tokens) for row in rows)),
        )
        loop = _Loop(*keeper.resume())
        resumed_at = loop.step
        order = _order(rows, parameters.training.batch_size, seed, settings, private)
        for _ in range(loop.step):
            next(order)
        speed = Speed()
        with (
            recomputing_layers(raw, settings.gradient_checkpointing),
            gradient_source(engine, private) as source,
        ):
            while loop.step < steps:
                batch = next(order)
                rate = parameters.training.learning_rate * _rate(loop.step, steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                pairs = [rows[place] for place in batch]
                _step(loop, batch, pairs, source, optimizer, tensors, rules, private is None)
                speed.add(counted_tokens(pairs))
                keeper.keep(loop.step, loop.tokens, loop.losses, last=loop.step == steps)
                if progress and loop.losses:
                    progress(Progress(loop.step, steps, loop.losses[-1], speed.rate))
    if not loop.losses:
        raise TrainingError("not one batch had a pair in it: train for more steps or on more data")
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
        resumed_at=resumed_at,
        privacy=private.after if private else None,
    )


def _step(
    loop: _Loop,
    batch: Sequence[int],
    pairs: Sequence[Encoded],
    source: GradientSource,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.nn.Parameter],
    rules: Sequence[Rule],
    clip: bool,
) -> None:
    for rule in rules:
        rule.before_forward(loop.step, batch, tensors)
    loss = source(loop.step, pairs)
    if loss is not None:
        if not np.isfinite(loss):
            raise TrainingError(f"loss is {loss} at step {loop.step + 1}: lower the learning rate")
        loop.losses.append(loss)
    for rule in rules:
        term = rule.penalty(tensors)
        if term is not None:
            parameters = list(tensors.values())
            for parameter, extra in zip(parameters, gradient(term, parameters), strict=True):
                parameter.grad = extra if parameter.grad is None else parameter.grad + extra
    for rule in rules:
        rule.after_backward(loop.step, batch, tensors)
    if clip:
        torch.nn.utils.clip_grad_norm_(list(tensors.values()), 1.0)
    optimizer.step()
    for rule in rules:
        rule.after_step(loop.step, batch, tensors)
    loop.step += 1
    loop.tokens += counted_tokens(pairs)


def _placed(model: LoraModel, start: FloatTensors) -> dict[str, torch.nn.Parameter]:
    """Load the start and let its trainable tensors be changed."""
    model.put(_ADAPTER, start)
    model.use(_ADAPTER)
    tensors = model.parameters(_ADAPTER)
    wanted = set(model.trainable)
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in wanted)
        tensor.grad = None
    return {name: tensors[name] for name in sorted(wanted)}


def _optimizer(
    tensors: Mapping[str, torch.nn.Parameter], rate: float, device: torch.device
) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        list(tensors.values()), lr=rate, weight_decay=0.0, fused=device.type == "cuda" or None
    )


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


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARM_UP, max(1, steps)))
    return warm * (1.0 - 0.9 * step / max(1, steps))
