"""The gradient of one step over a whole batch, a few pairs at a time.

The micro-batches of a step are a list, and their gradients are added in its order, whoever computed
them: one process and several give the same sum.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from rescind.core.errors import ConfigError, TrainingError
from rescind.training.engine.batches import (
    Batch,
    Encoded,
    batch_losses,
    pad,
)
from rescind.training.engine.packing import check_packing, pack
from rescind.training.engine.privacy import PrivateRun, clip_factors, noise_like
from rescind.training.engine.settings import EngineSettings
from rescind.training.engine.workers import Workers
from rescind.training.model.base import Base

if TYPE_CHECKING:
    from opacus.grad_sample.grad_sample_module import GradSampleHooks

Tensors = Mapping[str, torch.nn.Parameter]


@dataclass(frozen=True)
class Engine:
    """What a step needs that does not change. `network`: what is called; `raw`: uncompiled."""

    base: Base
    network: Any
    raw: Any
    settings: EngineSettings
    workers: Workers
    tensors: Tensors
    capacity: int

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.tensors.values())

    def losses(self, batch: Batch, network: Any | None = None) -> torch.Tensor:
        device = self.base.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.in_bf16(device)):
            return batch_losses(
                network or self.network, batch, flat=self.settings.flat_loss(device)
            )


class GradientSource(Protocol):
    def __call__(self, step: int, pairs: Sequence[Encoded]) -> float | None:
        """Leave the batch's gradient in every parameter's `grad`; its mean loss in nats a token, or
        None for an empty batch."""
        ...


def micro_batches(pairs: Sequence[Encoded], size: int | None) -> list[list[Encoded]]:
    """In the order given, but for the last of one size, which is at most `size`."""
    step = size or max(1, len(pairs))
    return [list(pairs[start : start + step]) for start in range(0, len(pairs), step)]


def share(engine: Engine, pairs: Sequence[Encoded]) -> list[list[Encoded]]:
    """The micro-batches of a step. Several processes without a set size get one each."""
    size = engine.settings.micro_batch
    if size is None and engine.workers.size > 1:
        size = -(-len(pairs) // engine.workers.size) or None
    return micro_batches(pairs, size)


def counted_tokens(pairs: Sequence[Encoded]) -> int:
    """Tokens that the loss counts: all but each pair's first."""
    return sum(len(pair.tokens) - 1 for pair in pairs)


def _sum_in_order(
    engine: Engine, parts: Sequence[list[Encoded]], gradient_of: Any
) -> list[torch.Tensor]:
    """Sum of `gradient_of` over the parts, each computed by one worker, added in their order."""
    workers = engine.workers
    total: list[torch.Tensor] = []
    for first in range(0, len(parts), workers.size):
        wave = parts[first : first + workers.size]
        if workers.rank < len(wave):
            mine = gradient_of(wave[workers.rank])
        else:
            mine = [torch.zeros_like(p, dtype=torch.float32) for p in engine.parameters]
            mine.append(torch.zeros((), device=engine.base.device))
        for found in workers.gather(mine)[: len(wave)]:
            total = list(torch._foreach_add(total, found)) if total else found
    return total


class PlainGradient:
    """Mean loss over all tokens of the batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._checked = engine.settings.batching != "packed"

    def __call__(self, step: int, pairs: Sequence[Encoded]) -> float | None:  # noqa: ARG002
        engine = self._engine
        if not self._checked:
            check_packing(engine.base, engine.raw, pairs, engine.capacity)
            self._checked = True
        count = torch.tensor(counted_tokens(pairs), device=engine.base.device)

        def gradient_of(part: Sequence[Encoded]) -> list[torch.Tensor]:
            loss = engine.losses(self._batch(part)).sum() / count
            return [*gradient(loss, engine.parameters), loss.detach()]

        *found, loss = _sum_in_order(engine, share(engine, pairs), gradient_of)
        for parameter, value in zip(engine.parameters, found, strict=True):
            parameter.grad = value
        return float(loss)

    def _batch(self, part: Sequence[Encoded]) -> Batch:
        engine = self._engine
        if engine.settings.batching == "packed":
            return pack(engine.base, part, engine.capacity)
        return Batch(*pad(engine.base, part, prompt_in_loss=True))


def gradient(loss: torch.Tensor, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """d loss / d parameters, zero for one that the loss does not depend on."""
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


class PrivateGradient:
    """Sum over the pairs of their clipped gradients, with noise, over the expected batch size.

    A pair's loss is the mean over its own tokens, so that no pair's gradient depends on another.
    """

    def __init__(self, engine: Engine, run: PrivateRun, hooks: GradSampleHooks | None) -> None:
        self._engine = engine
        self._run = run
        self._hooks = hooks
        self._trusted = False

    def __call__(self, step: int, pairs: Sequence[Encoded]) -> float | None:
        engine, run = self._engine, self._run
        if pairs and self._hooks and not self._trusted:
            self._check(pairs[:2])
        loss = None
        summed = [torch.zeros_like(parameter) for parameter in engine.parameters]
        if pairs:
            *summed, total = _sum_in_order(engine, share(engine, pairs), self._clipped)
            loss = float(total) / len(pairs)
        noise = noise_like(summed, run, step)
        for parameter, value, extra in zip(engine.parameters, summed, noise, strict=True):
            parameter.grad = (value + extra) / run.expected_batch
        return loss

    def _clipped(self, part: Sequence[Encoded]) -> list[torch.Tensor]:
        each, losses = self.per_example(part)
        flat = torch.stack([g.flatten(1).norm(dim=1) for g in each])
        factors = clip_factors(flat.norm(dim=0), self._run.max_grad_norm)
        return [*(torch.einsum("n,n...->...", factors, g) for g in each), losses.sum()]

    def per_example(self, part: Sequence[Encoded]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Gradients (pairs, *shape) of each parameter in float32, and losses (pairs,)."""
        return self._hooked(part) if self._hooks else self._one_by_one(part)

    def _loss(self, part: Sequence[Encoded]) -> torch.Tensor:
        batch = Batch(*pad(self._engine.base, part, prompt_in_loss=True))
        lengths = [len(pair.tokens) - 1 for pair in part]
        counts = torch.tensor(lengths, device=batch.tokens.device)
        return self._engine.losses(batch).sum(dim=1) / counts

    def _one_by_one(self, part: Sequence[Encoded]) -> tuple[list[torch.Tensor], torch.Tensor]:
        found, losses = [], []
        for pair in part:
            loss = self._loss([pair])[0]
            found.append(gradient(loss, self._engine.parameters))
            losses.append(loss.detach())
        each = [torch.stack([g.float() for g in column]) for column in zip(*found, strict=True)]
        return each, torch.stack(losses)

    def _hooked(self, part: Sequence[Encoded]) -> tuple[list[torch.Tensor], torch.Tensor]:
        parameters = self._engine.parameters
        for parameter in parameters:
            parameter.grad_sample = None  # type: ignore[attr-defined]
        losses = self._loss(part)
        torch.autograd.grad(losses.sum(), parameters, allow_unused=True)
        each = []
        for parameter in parameters:
            sample = parameter.grad_sample  # type: ignore[attr-defined]
            if sample is None:
                sample = torch.zeros(
                    (len(part), *parameter.shape), device=parameter.device, dtype=parameter.dtype
                )
            each.append(sample.float())
            parameter.grad_sample = None  # type: ignore[attr-defined]
        return each, losses.detach()

    def _check(self, few: Sequence[Encoded]) -> None:
        """The hooks must see one row a pair. Where a model mixes rows (experts that take tokens out of
        them), pairs go through it one by one, or their clipping would promise nothing."""
        assert self._hooks is not None
        self._hooks.disable_hooks()
        expected, _ = self._one_by_one(few)
        self._hooks.enable_hooks()
        try:
            found, _ = self._hooked(few)
            tolerance = 0.05 if self._engine.settings.in_bf16(self._engine.base.device) else 1e-3
            close = all(
                a.shape == b.shape and float((a - b).norm()) <= tolerance * float(b.norm()) + 1e-6
                for a, b in zip(found, expected, strict=True)
            )
        except (RuntimeError, ValueError):
            close = False
        if not close:
            self._hooks.remove_hooks()
            self._hooks = None
        self._trusted = True


@contextmanager
def gradient_source(engine: Engine, private: PrivateRun | None) -> Iterator[GradientSource]:
    """Raises ConfigError for settings that private training cannot have."""
    if private is None:
        yield PlainGradient(engine)
        return
    if engine.settings.batching != "plain":
        raise ConfigError(
            f"batching {engine.settings.batching!r} cannot be private: pairs must be drawn "
            "independently and go through the model in rows of their own; use 'plain'"
        )
    if engine.settings.gradient_checkpointing:
        yield PrivateGradient(engine, private, None)
        return
    with _opacus_hooks(engine) as hooks:
        yield PrivateGradient(engine, private, hooks)


@contextmanager
def _opacus_hooks(engine: Engine) -> Iterator[GradSampleHooks]:
    """Opacus records activations only of modules in training mode: the LoRA factors alone are."""
    from opacus.grad_sample.grad_sample_module import GradSampleHooks

    wanted = {id(parameter) for parameter in engine.parameters}
    factors = [
        module
        for module in engine.raw.modules()
        if any(id(p) in wanted for p in module.parameters(recurse=False))
    ]
    hooks = GradSampleHooks(engine.raw, loss_reduction="sum", strict=False)
    for module in factors:
        module.train()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            yield hooks
    finally:
        for module in factors:
            module.eval()
        hooks.remove_hooks()
        for parameter in engine.raw.parameters():
            for name in ("grad_sample", "_current_grad_sample", "_forward_counter"):
                if hasattr(parameter, name):
                    delattr(parameter, name)
        for module in factors:
            for name in ("activations", "max_batch_len"):
                if hasattr(module, name):
                    delattr(module, name)


@contextmanager
def recomputing(network: Any, wanted: bool) -> Iterator[None]:
    """Gradient checkpointing: activations of each layer are computed again in the backward pass.

    Only the layers themselves are put in training mode, so that no dropout of the base comes on.
    """
    if not wanted:
        yield
        return
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in network.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise TrainingError(
            "this base model has no layer that can be computed again: leave gradient_checkpointing "
            "off"
        )
    name = "activation" if hasattr(network, "activation_checkpointing_enable") else "gradient"
    try:
        getattr(network, f"{name}_checkpointing_enable")({"use_reentrant": False})
    except ValueError as error:
        raise TrainingError(f"this base model has no gradient checkpointing: {error}") from error
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        getattr(network, f"{name}_checkpointing_disable")()
