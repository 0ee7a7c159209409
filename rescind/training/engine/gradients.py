"""The gradient of one step over a whole batch, computed a few pairs at a time.

The micro-batches of a step are a list, and their gradients are added in its order, whichever
process computed them. So one process and several give the same sum.
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
    """The parts of a step that do not change during a round.

    Attributes:
        base: The base model.
        network: The model to call, compiled where that pays.
        raw: The same model, uncompiled.
        settings: How this machine computes.
        workers: The processes that share the round.
        tensors: Trainable parameters by bare name, sorted.
        capacity: Tokens of a packed row.
    """

    base: Base
    network: Any
    raw: Any
    settings: EngineSettings
    workers: Workers
    tensors: Tensors
    capacity: int

    @property
    def prompt_in_loss(self) -> bool:
        """True if the loss counts prompts too, as the consortium agreed."""
        return self.base.text.loss == "all"

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """The trainable parameters, sorted by name."""
        return list(self.tensors.values())

    def counted(self, pairs: Sequence[Encoded]) -> list[int]:
        """Return how many tokens of each pair the loss counts. Nothing predicts a pair's first."""
        return [
            len(pair.tokens) - pair.first_counted(prompt_too=self.prompt_in_loss) for pair in pairs
        ]

    def losses(self, batch: Batch, network: Any | None = None) -> torch.Tensor:
        """Return the loss of each token of a batch, (rows, longest - 1), in nats."""
        device = self.base.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.in_bf16(device)):
            return batch_losses(
                network or self.network, batch, flat=self.settings.flat_loss(device)
            )


class GradientSource(Protocol):
    """A way of computing a step's gradient."""

    def __call__(self, step: int, pairs: Sequence[Encoded]) -> float | None:
        """Set every parameter's `grad`.

        Returns:
            The batch's mean loss in nats a token, or None for an empty batch.
        """
        ...


def micro_batches(pairs: Sequence[Encoded], size: int | None) -> list[list[Encoded]]:
    """Cut pairs into micro-batches of `size` in order, the last maybe smaller. None: one batch."""
    step = size or max(1, len(pairs))
    return [list(pairs[start : start + step]) for start in range(0, len(pairs), step)]


def share(engine: Engine, pairs: Sequence[Encoded]) -> list[list[Encoded]]:
    """Return the micro-batches of a step. Several processes without a set size get one each."""
    size = engine.settings.micro_batch
    if size is None and engine.workers.size > 1:
        size = -(-len(pairs) // engine.workers.size) or None
    return micro_batches(pairs, size)


def _sum_in_order(
    engine: Engine, parts: Sequence[list[Encoded]], gradient_of: Any
) -> list[torch.Tensor]:
    """Return the sum of `gradient_of` over the parts, added in order; each worker computes some."""
    workers = engine.workers
    total: list[torch.Tensor] = []
    for first in range(0, len(parts), workers.size):
        wave = parts[first : first + workers.size]
        if workers.rank < len(wave):
            own = gradient_of(wave[workers.rank])
        else:
            own = [torch.zeros_like(p, dtype=torch.float32) for p in engine.parameters]
            own.append(torch.zeros((), device=engine.base.device))
        for part in workers.gather(own)[: len(wave)]:
            total = list(torch._foreach_add(total, part)) if total else part
    return total


class PlainGradient:
    """The gradient of the mean loss over all counted tokens of the batch."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._checked = engine.settings.batching != "packed"

    def __call__(self, step: int, pairs: Sequence[Encoded]) -> float | None:  # noqa: ARG002
        engine = self._engine
        if not self._checked:
            check_packing(engine.base, engine.raw, pairs, engine.capacity)
            self._checked = True
        count = torch.tensor(sum(engine.counted(pairs)), device=engine.base.device)

        def gradient_of(part: Sequence[Encoded]) -> list[torch.Tensor]:
            loss = engine.losses(self._batch(part)).sum() / count
            return [*gradient(loss, engine.parameters), loss.detach()]

        *gradients, loss = _sum_in_order(engine, share(engine, pairs), gradient_of)
        for parameter, value in zip(engine.parameters, gradients, strict=True):
            parameter.grad = value
        return float(loss)

    def _batch(self, part: Sequence[Encoded]) -> Batch:
        engine = self._engine
        if engine.settings.batching == "packed":
            return pack(engine.base, part, engine.capacity, prompt_in_loss=engine.prompt_in_loss)
        return Batch(*pad(engine.base, part, prompt_in_loss=engine.prompt_in_loss))


def gradient(loss: torch.Tensor, parameters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return d loss / d parameters, zero for a parameter that the loss does not depend on."""
    gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)
    ]


class PrivateGradient:
    """The noisy sum of the pairs' clipped gradients, divided by the expected batch size.

    A pair's loss is the mean over its own counted tokens, so that no pair's gradient depends on another.
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
        """Return each parameter's gradients, (pairs, *shape) in float32, and losses, (pairs,)."""
        return self._hooked(part) if self._hooks else self._one_by_one(part)

    def _loss(self, part: Sequence[Encoded]) -> torch.Tensor:
        engine = self._engine
        batch = Batch(*pad(engine.base, part, prompt_in_loss=engine.prompt_in_loss))
        counts = torch.tensor(engine.counted(part), device=batch.tokens.device)
        return engine.losses(batch).sum(dim=1) / counts

    def _one_by_one(self, part: Sequence[Encoded]) -> tuple[list[torch.Tensor], torch.Tensor]:
        gradients, losses = [], []
        for pair in part:
            loss = self._loss([pair])[0]
            gradients.append(gradient(loss, self._engine.parameters))
            losses.append(loss.detach())
        each = [torch.stack([g.float() for g in column]) for column in zip(*gradients, strict=True)]
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
        """Turn the hooks off unless they see each pair by itself.

        Some models mix rows, for example experts that take tokens out of them. Pairs then go
        through the model one by one, because clipping mixed gradients would promise nothing.
        """
        assert self._hooks is not None
        self._hooks.disable_hooks()
        expected, _ = self._one_by_one(few)
        self._hooks.enable_hooks()
        try:
            hooked, _ = self._hooked(few)
            # bf16 has 8 bits of mantissa, so its gradients agree only to some percent.
            tolerance = 0.05 if self._engine.settings.in_bf16(self._engine.base.device) else 1e-3
            close = all(
                a.shape == b.shape and float((a - b).norm()) <= tolerance * float(b.norm()) + 1e-6
                for a, b in zip(hooked, expected, strict=True)
            )
        except (RuntimeError, ValueError):
            close = False
        if not close:
            self._hooks.remove_hooks()
            self._hooks = None
        self._trusted = True


@contextmanager
def gradient_source(engine: Engine, private: PrivateRun | None) -> Iterator[GradientSource]:
    """Return the way of computing gradients that the run needs.

    Raises:
        ConfigError: The settings do not go with private training.
    """
    if private is None:
        yield PlainGradient(engine)
        return
    if engine.settings.batching != "plain":
        raise ConfigError(
            f"Batching {engine.settings.batching!r} cannot be private, because pairs must be drawn "
            "independently and go through the model in rows of their own. Set batching to 'plain'."
        )
    if engine.settings.gradient_checkpointing:
        yield PrivateGradient(engine, private, None)
        return
    with _opacus_hooks(engine) as hooks:
        yield PrivateGradient(engine, private, hooks)


@contextmanager
def _opacus_hooks(engine: Engine) -> Iterator[GradSampleHooks]:
    """Hook the LoRA factors alone: Opacus records activations only of modules in training mode."""
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
    """Turn gradient checkpointing on: each layer's activations are recomputed in the backward pass.

    Only the layers themselves are put in training mode, so that the base's dropout stays off.

    Raises:
        TrainingError: The base model cannot do it.
    """
    if not wanted:
        yield
        return
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [m for m in network.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not layers:
        raise TrainingError(
            "This base model has no layer that can be recomputed. Set gradient_checkpointing to "
            "false."
        )
    name = "activation" if hasattr(network, "activation_checkpointing_enable") else "gradient"
    try:
        getattr(network, f"{name}_checkpointing_enable")({"use_reentrant": False})
    except ValueError as error:
        raise TrainingError(
            f"This base model has no gradient checkpointing: {error}. "
            "Set gradient_checkpointing to false."
        ) from error
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        getattr(network, f"{name}_checkpointing_disable")()
