"""Training shared ranks beside private ranks in one adapter: gradient routing (SGTM) for LoRA.

A = [A_shared; A_own] and B = [B_shared | B_own], so that B A = B_shared A_shared + B_own A_own,
both times alpha / rank. Every step has one mode (after the modes of SGTM, which comes from gradient
routing, Cloud et al. 2024, arXiv 2410.04332):

forget   revocable data: everything is in the forward pass, the private ranks alone learn
retain   public data: the private ranks are switched off, the shared ranks alone learn
default  the rest of the public data, and data with an uncertain label: everything learns

A_shared keeps its initial values, as in the shared layout: averages of B_shared are then averages
of the products. The two parts are separate tensors with an optimizer each. The optimizer of a part
that does not learn in a step is not called, so neither momentum nor a schedule moves the part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    Quantized,
    Totals,
    quantize,
)
from rescind.core.errors import TrainingError
from rescind.core.split_settings import PARTS, Part, SplitSettings, rank_axis
from rescind.training.data import Example
from rescind.training.engine.batches import (
    counted,
    encode_rows,
    pad,
    token_losses,
)
from rescind.training.engine.round import Progress
from rescind.training.engine.schedule import rate_factor
from rescind.training.model.lora import LoraModel
from rescind.training.rules.rule import Rule, Rules
from rescind.training.split.parts import SplitParts, split_delta_shapes, split_parts
from rescind.training.split.plan import (
    Label,
    PlannedStep,
    labels_of,
    plan,
)

_ADAPTER = "split"
_LEARNS: dict[str, tuple[Part, ...]] = {
    "forget": ("own",),
    "retain": ("shared",),
    "default": ("shared", "own"),
}


@dataclass(frozen=True)
class SplitResult:
    """The outcome of a split round.

    Attributes:
        parts: Both parts afterwards.
        plan: The steps.
        losses: One for each step, in nats a token.
        tokens: Tokens that the loss counted.
        seconds: Of the whole round.
    """

    parts: SplitParts
    plan: tuple[PlannedStep, ...]
    losses: tuple[float, ...]
    tokens: int
    seconds: float


def train_split(
    model: LoraModel,
    parameters: ConsortiumParameters,
    settings: SplitSettings,
    start: SplitParts,
    examples: Sequence[Example],
    labels: Sequence[Label] | Callable[[Example], Label],
    *,
    open_steps: int,
    revocable_steps: int,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    rules: Sequence[Rule] = (),
) -> SplitResult:
    """Train one round: `open_steps` on open data, `revocable_steps` on revocable data.

    Open data is public or uncertain. A long document becomes several rows. A step's batch is all of one mode. The shared ranks' batches,
    learning rates and optimizer depend on `open_steps`, the public and uncertain data and `seed`
    alone. The optimizer is AdamW without weight decay; each part's learning rate follows
    `schedule.rate_factor` over its own steps. Rules see the whole adapter's tensors, and their
    changes to a part that does not learn in a step are undone.

    Raises:
        ConfigError: The settings or the numbers of steps do not fit.
        DataError: A pair is too long, or a label is unknown.
        TrainingError: The loss is not finite.
    """
    settings.check(parameters.lora.rank)
    began = time.monotonic()
    device = model.base.device.type
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.manual_seed(seed)
    model.read_as(parameters.text)
    longest = parameters.training.max_length
    encoded = [encode_rows(model.base, [example], longest) for example in examples]
    rows = [row for own in encoded for row in own]
    steps = plan(
        [
            label
            for label, own in zip(labels_of(examples, labels), encoded, strict=True)
            for _ in own
        ],
        open_steps=open_steps,
        revocable_steps=revocable_steps,
        batch_size=parameters.training.batch_size,
        retain_share=settings.retain_share,
        seed=seed,
    )
    state = _State(model, parameters, settings, start, steps)
    every_rule = Rules(rules)
    losses: list[float] = []
    tokens = 0
    for number, step in enumerate(steps):
        state.arrange(step.mode)
        every_rule.before_forward(number, step.indices, state.trainable)
        batch = [rows[index] for index in step.indices]
        ids, mask, targets = pad(model.base, batch, prompt_in_loss=parameters.text.loss == "all")
        count = counted(targets).sum()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = token_losses(state.network, ids, mask, targets).sum() / count
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise TrainingError(
                f"The loss is {losses[-1]} at step {number + 1} of {len(steps)}. "
                "Lower the learning rate."
            )
        for term in every_rule.penalties(state.trainable):
            loss = loss + term
        loss.backward()  # type: ignore[no-untyped-call]
        every_rule.after_backward(number, step.indices, state.trainable)
        state.step(step.mode)
        every_rule.after_step(number, step.indices, state.trainable)
        state.accept(step.mode)
        tokens += int(count)
        if progress:
            elapsed = max(time.monotonic() - began, 1e-9)
            progress(Progress(number + 1, len(steps), losses[-1], tokens / elapsed))
    return SplitResult(state.parts(), steps, tuple(losses), tokens, time.monotonic() - began)


class _State:
    """The whole adapter that the network computes with, and the two parts that learn."""

    def __init__(
        self,
        model: LoraModel,
        parameters: ConsortiumParameters,
        settings: SplitSettings,
        start: SplitParts,
        steps: Sequence[PlannedStep],
    ) -> None:
        model.put(_ADAPTER, start.joined())
        self._fixed: dict[Part, dict[str, torch.Tensor]] = {
            "shared": {name: torch.from_numpy(v.copy()) for name, v in start.shared.items()},
            "own": {name: torch.from_numpy(v.copy()) for name, v in start.own.items()},
        }
        self.network = model.use(_ADAPTER)
        self._rank = settings.shared_rank
        self._whole = model.parameters(_ADAPTER)
        train_a = parameters.lora.train_a
        for name, tensor in self._whole.items():
            tensor.requires_grad_(train_a or name.endswith(".lora_B"))
        self.trainable = {n: t for n, t in self._whole.items() if t.requires_grad}
        rates = {
            "own": parameters.training.learning_rate,
            "shared": settings.shared_learning_rate or parameters.training.learning_rate,
        }
        self._leaves: dict[Part, dict[str, torch.nn.Parameter]] = {}
        self._optimizers: dict[Part, torch.optim.Optimizer] = {}
        self._schedules: dict[Part, torch.optim.lr_scheduler.LambdaLR] = {}
        for part in PARTS:
            leaves = {
                name: torch.nn.Parameter(self._slice(tensor.detach(), name, part).clone())
                for name, tensor in self.trainable.items()
                if part == "own" or name.endswith(".lora_B")
            }
            own_steps = sum(part in _LEARNS[step.mode] for step in steps)
            optimizer = torch.optim.AdamW(leaves.values(), lr=rates[part], weight_decay=0.0)
            self._leaves[part] = leaves
            self._optimizers[part] = optimizer
            self._schedules[part] = torch.optim.lr_scheduler.LambdaLR(
                optimizer, partial(rate_factor, steps=own_steps)
            )

    def arrange(self, mode: str) -> None:
        """Write both parts into the whole adapter; in retain mode the private ranks are zero."""
        with torch.no_grad():
            for name, tensor in self._whole.items():
                tensor.grad = None
                for part in PARTS:
                    piece = self._slice(tensor, name, part)
                    if part == "own" and mode == "retain":
                        piece.zero_()
                    else:
                        piece.copy_(self._leaves[part].get(name, self._fixed[part][name]))

    def step(self, mode: str) -> None:
        """Update the parts that learn in this mode. Each part's gradient is clipped by itself."""
        for part in _LEARNS[mode]:
            leaves = self._leaves[part]
            for name, leaf in leaves.items():
                gradient = self._whole[name].grad
                leaf.grad = None if gradient is None else self._slice(gradient, name, part).clone()
            torch.nn.utils.clip_grad_norm_(leaves.values(), 1.0)
            self._optimizers[part].step()
            self._schedules[part].step()
        self._show(mode)

    def accept(self, mode: str) -> None:
        """Keep the rules' changes to the parts that learn in this mode."""
        with torch.no_grad():
            for part in _LEARNS[mode]:
                for name, leaf in self._leaves[part].items():
                    leaf.copy_(self._slice(self._whole[name], name, part))

    def parts(self) -> SplitParts:
        """Return both parts as they are now."""
        shared, own = (
            {
                name: self._leaves[part].get(name, fixed).detach().cpu().numpy().copy()
                for name, fixed in self._fixed[part].items()
            }
            for part in PARTS
        )
        return SplitParts(shared, own)

    def _show(self, mode: str) -> None:
        with torch.no_grad():
            for part in _LEARNS[mode]:
                for name, leaf in self._leaves[part].items():
                    self._slice(self._whole[name], name, part).copy_(leaf)

    def _slice(self, tensor: torch.Tensor, name: str, part: Part) -> torch.Tensor:
        axis = rank_axis(name)
        if part == "shared":
            return tensor.narrow(axis, 0, self._rank)
        return tensor.narrow(axis, self._rank, tensor.shape[axis] - self._rank)


@dataclass(frozen=True)
class SplitContribution:
    """The quantized deltas of both parts. A part that no step trained is None."""

    shared: Quantized | None
    own: Quantized | None
    result: SplitResult


def contribute_split(
    model: LoraModel,
    parameters: ConsortiumParameters,
    settings: SplitSettings,
    organization: str,
    totals: Totals,
    examples: Sequence[Example],
    labels: Sequence[Label] | Callable[[Example], Label],
    residuals: Mapping[Part, Mapping[str, NDArray[np.float64]]] | None = None,
    *,
    open_steps: int,
    revocable_steps: int,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    rules: Sequence[Rule] = (),
) -> SplitContribution:
    """Train from `totals` and quantize the change of each part, with qualified names.

    Each part is clipped by itself. Clipped together, each would reveal the other's norm.
    """
    start = split_parts(parameters, settings, totals, organization)
    result = train_split(
        model,
        parameters,
        settings,
        start,
        examples,
        labels,
        open_steps=open_steps,
        revocable_steps=revocable_steps,
        seed=seed,
        progress=progress,
        rules=rules,
    )
    quantized: dict[Part, Quantized | None] = {}
    for part in PARTS:
        before, after = getattr(start, part), getattr(result.parts, part)
        names = split_delta_shapes(parameters, settings, organization, part)
        quantized[part] = (
            quantize(
                {
                    name: after[bare].astype(np.float64) - before[bare]
                    for name in names
                    for bare in (name.partition("/")[2],)
                },
                (residuals or {}).get(part),
                fraction_bits=parameters.fraction_bits,
                clip_norm=parameters.clip_norm,
            )
            if any(part in _LEARNS[step.mode] for step in result.plan)
            else None
        )
    return SplitContribution(quantized["shared"], quantized["own"], result)
