"""The steps of a round: a batch, its gradient, what rules make of it, and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rescind.core.errors import TrainingError
from rescind.training.engine.batches import Encoded
from rescind.training.engine.gradients import (
    Engine,
    GradientSource,
    counted_tokens,
    gradient,
    gradient_source,
    recomputing,
)
from rescind.training.engine.privacy import PrivateRun
from rescind.training.engine.resume import Keeper
from rescind.training.engine.speed import Speed
from rescind.training.rules.rule import Rule

_WARM_UP = 10
_CLIP = 1.0


@dataclass(frozen=True)
class Progress:
    """After `step` of `steps`. `loss`: of the step's batch in nats a token, of the last batch that was
    not empty. `tokens_per_second`: tokens that the loss counts, smoothed over about ten steps."""

    step: int
    steps: int
    loss: float
    tokens_per_second: float


def rate(step: int, steps: int) -> float:
    """What the learning rate is multiplied by: up over ten steps, then down in a line to a tenth."""
    warm = min(1.0, (step + 1) / min(_WARM_UP, max(1, steps)))
    return warm * (1.0 - 0.9 * step / max(1, steps))


def optimizer_of(
    tensors: Mapping[str, torch.nn.Parameter], learning_rate: float, device: torch.device
) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        list(tensors.values()),
        lr=learning_rate,
        weight_decay=0.0,
        fused=device.type == "cuda" or None,
    )


@dataclass
class Loop:
    """`step`, `tokens` and `losses` say how far it is."""

    engine: Engine
    optimizer: torch.optim.Optimizer
    learning_rate: float
    steps: int
    rules: Sequence[Rule]
    private: PrivateRun | None
    keeper: Keeper
    step: int = 0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    resumed_at: int = 0

    def run(
        self,
        order: Iterator[list[int]],
        rows: Sequence[Encoded],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """From where the checkpoint is, or from the start, to the last step."""
        self.step, self.tokens, self.losses = self.keeper.resume()
        self.resumed_at = self.step
        for _ in range(self.step):
            next(order)
        speed = Speed()
        with (
            recomputing(self.engine.raw, self.engine.settings.gradient_checkpointing),
            gradient_source(self.engine, self.private) as source,
        ):
            while self.step < self.steps:
                batch = next(order)
                pairs = [rows[place] for place in batch]
                self._advance(batch, pairs, source)
                speed.add(counted_tokens(pairs))
                last = self.step == self.steps
                self.keeper.keep(self.step, self.tokens, self.losses, last=last)
                if progress and self.losses:
                    progress(Progress(self.step, self.steps, self.losses[-1], speed.rate))
        if not self.losses:
            raise TrainingError("no batch had a pair in it: train for more steps or on more data")

    def _advance(
        self, batch: Sequence[int], pairs: Sequence[Encoded], source: GradientSource
    ) -> None:
        tensors = self.engine.tensors
        for rule in self.rules:
            rule.before_forward(self.step, batch, tensors)
        self._note(source(self.step, pairs))
        self._penalize()
        for rule in self.rules:
            rule.after_backward(self.step, batch, tensors)
        if self.private is None:
            torch.nn.utils.clip_grad_norm_(self.engine.parameters, _CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * rate(self.step, self.steps)
        self.optimizer.step()
        for rule in self.rules:
            rule.after_step(self.step, batch, tensors)
        self.step += 1
        self.tokens += counted_tokens(pairs)

    def _note(self, loss: float | None) -> None:
        if loss is None:
            return
        if not np.isfinite(loss):
            raise TrainingError(f"loss is {loss} at step {self.step + 1}: lower the learning rate")
        self.losses.append(loss)

    def _penalize(self) -> None:
        """The gradient of the rules' terms. It has no part in clipping a pair's gradient or in the
        noise: a term depends on the parameters alone."""
        parameters = self.engine.parameters
        for rule in self.rules:
            term = rule.penalty(self.engine.tensors)
            if term is None:
                continue
            for parameter, extra in zip(parameters, gradient(term, parameters), strict=True):
                parameter.grad = extra if parameter.grad is None else parameter.grad + extra
