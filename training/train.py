"""One round of local training: deterministic in (base, parameters, start, data, seed)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from adapters import ConsortiumParameters, FloatTensors
from adapters.errors import TrainingError
from training.batches import counted, encode_example, pad, token_losses
from training.data import Example
from training.lora import LoraModel

_ADAPTER = "round"
_WARM_UP = 10


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True)
class TrainResult:
    """`tensors`: trainable LoRA tensors afterwards, float32. Losses in nats a token."""

    tensors: dict[str, NDArray[np.float32]]
    first_loss: float
    last_loss: float
    steps: int
    examples: int
    tokens: int
    seconds: float


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
) -> TrainResult:
    """AdamW for `steps` on the pairs, questions included in the loss (the router needs them).

    The learning rate warms up over ten steps and falls linearly to a tenth. Raises DataError for
    a pair that is too long and TrainingError when the loss is not finite.
    """
    began = time.monotonic()
    torch.use_deterministic_algorithms(True, warn_only=model.base.device.type != "cpu")
    torch.manual_seed(seed)
    rows = [encode_example(model.base, e, parameters.training.max_length) for e in examples]
    model.put(_ADAPTER, start)
    network = model.use(_ADAPTER)
    tensors = model.parameters(_ADAPTER)
    for name, tensor in tensors.items():
        tensor.requires_grad_(name in model.trainable)
    optimizer = torch.optim.AdamW(
        [tensors[name] for name in model.trainable],
        lr=parameters.training.learning_rate,
        weight_decay=0.0,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    order = _batches(len(rows), parameters.training.batch_size, seed)
    losses: list[float] = []
    tokens = 0
    for step in range(steps):
        batch = [rows[place] for place in next(order)]
        ids, mask, labels = pad(model.base, batch, prompt_in_loss=True)
        with torch.autocast(
            model.base.device.type, torch.bfloat16, enabled=model.base.device.type == "cuda"
        ):
            count = counted(labels).sum()
            loss = token_losses(network, ids, mask, labels).sum() / count
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise TrainingError(f"loss is {losses[-1]} at step {step + 1}: lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([tensors[name] for name in model.trainable], 1.0)
        optimizer.step()
        schedule.step()
        tokens += int(count)
        if progress:
            elapsed = max(time.monotonic() - began, 1e-9)
            progress(Progress(step + 1, steps, losses[-1], tokens / elapsed))
    after = model.get(_ADAPTER)
    return TrainResult(
        tensors={name: after[name] for name in model.trainable},
        first_loss=losses[0],
        last_loss=losses[-1],
        steps=steps,
        examples=len(rows),
        tokens=tokens,
        seconds=time.monotonic() - began,
    )


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARM_UP, max(1, steps)))
    return warm * (1.0 - 0.9 * step / max(1, steps))


def _batches(rows: int, size: int, seed: int) -> Iterator[list[int]]:
    generator = np.random.default_rng(seed)
    pending: list[int] = []
    while True:
        while len(pending) < min(size, rows):
            pending += [int(place) for place in generator.permutation(rows)]
        yield pending[: min(size, rows)]
        pending = pending[min(size, rows) :]
