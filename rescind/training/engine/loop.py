"""The steps of a round: a batch, its gradient, the rules' corrections, and AdamW."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from rescind.core.errors import TrainingError
from rescind.training.engine.batches import Encoded
from rescind.training.engine.gradients import (
    Engine,
    GradientSource,
    gradient,
    gradient_source,
    recomputing,
)
from rescind.training.engine.privacy import PrivateRun
from rescind.training.engine.resume import Keeper
from rescind.training.engine.round import Progress, RoundTraining
from rescind.training.engine.schedule import StepRate
from rescind.training.engine.speed import Speed
from rescind.training.rules.rule import Rules

_CLIP = 1.0
"""Largest L2 norm of a step's gradient. One odd batch must not throw a short round off course."""


def optimizer_of(
    tensors: Mapping[str, torch.nn.Parameter], learning_rate: float, device: torch.device
) -> torch.optim.AdamW:
    """Return AdamW over `tensors` without weight decay, which would pull a delta to zero."""
    return torch.optim.AdamW(
        list(tensors.values()),
        lr=learning_rate,
        weight_decay=0.0,
        # The fused kernel rounds differently; CPU results are recorded with the plain one.
        fused=device.type == "cuda" or None,
    )


@dataclass
class Loop:
    """The training loop of one round.

    Attributes:
        step: Steps done so far.
        tokens: Tokens that the loss has counted so far.
        losses: One for each batch so far that was not empty.
        resumed_at: The step of the checkpoint that this process continued from, or 0.
    """

    engine: Engine
    optimizer: torch.optim.Optimizer
    learning_rate: float
    training: RoundTraining
    private: PrivateRun | None
    keeper: Keeper
    step: int = 0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    resumed_at: int = 0

    def __post_init__(self) -> None:
        self._rules = Rules(self.training.rules)
        self._rate = StepRate(self.learning_rate, self.training.steps)

    def run(self, order: Iterator[list[int]], rows: Sequence[Encoded]) -> None:
        """Train from the checkpoint, or from the start, to the last step."""
        steps, progress = self.training.steps, self.training.progress
        self.step, self.tokens, self.losses = self.keeper.resume()
        self.resumed_at = self.step
        for _ in range(self.step):
            next(order)
        speed = Speed()
        with (
            recomputing(self.engine.raw, self.engine.settings.gradient_checkpointing),
            gradient_source(self.engine, self.private) as source,
        ):
            while self.step < steps:
                batch = next(order)
                pairs = [rows[index] for index in batch]
                self._advance(batch, pairs, source)
                speed.add(sum(self.engine.counted(pairs)))
                last = self.step == steps
                self.keeper.keep(self.step, self.tokens, self.losses, last=last)
                if progress and self.losses:
                    progress(Progress(self.step, steps, self.losses[-1], speed.rate))
        if not self.losses:
            raise TrainingError(
                f"All {steps} batches of this round were empty. Train for more steps or on more "
                "data."
            )

    def _advance(
        self, batch: Sequence[int], pairs: Sequence[Encoded], source: GradientSource
    ) -> None:
        tensors = self.engine.tensors
        self._rules.before_forward(self.step, batch, tensors)
        self._record(source(self.step, pairs))
        self._penalize()
        self._rules.after_backward(self.step, batch, tensors)
        # A private gradient is clipped pair by pair already. Clipping its noisy sum would bias it.
        if self.private is None:
            torch.nn.utils.clip_grad_norm_(self.engine.parameters, _CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.optimizer.step()
        self._rules.after_step(self.step, batch, tensors)
        self.step += 1
        self.tokens += sum(self.engine.counted(pairs))

    def _record(self, loss: float | None) -> None:
        if loss is None:
            return
        if not np.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {self.step + 1} of {self.training.steps}. "
                f"Lower the learning rate (now {self.learning_rate:g})."
            )
        self.losses.append(loss)

    def _penalize(self) -> None:
        """Add the gradients of the rules' terms.

        They take no part in clipping a pair's gradient or in the noise, because a term depends on
        the parameters alone.
        """
        parameters = self.engine.parameters
        for term in self._rules.penalties(self.engine.tensors):
            for parameter, extra in zip(parameters, gradient(term, parameters), strict=True):
                parameter.grad = extra if parameter.grad is None else parameter.grad + extra
