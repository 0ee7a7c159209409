"""Counter-training: further training of one block that makes learned answers unlikely again.

All methods share one trainer. A method describes its loss with a Plan. The trainer starts from the
block as served and changes nothing except the block's trainable LoRA tensors. A frozen copy of the
start is the reference: a second named adapter on the same base, not a second model. On a CPU the
outcome is a function of (base, parameters, start, data, settings, seed), to the byte.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch

from rescind.core import FloatTensors, l2_norm
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.training import Example, LoraModel, Progress
from rescind.training.engine.batches import Encoded, encode_example
from rescind.training.engine.schedule import rate_factor
from rescind.training.rules.rule import Rule
from rescind.unlearning import losses
from rescind.unlearning.guard import Guard, Limits, Verdict
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.views import Batch, View, view

_TRAINED = "counter"
_REFERENCE = "reference"
_KEPT_LOSSES = 64
"""Losses in a report, evenly spaced: enough for a curve, small enough for evidence."""

Views = Mapping[str, View]
Term = Callable[[Views, Views], torch.Tensor]
Optimizer = Callable[[list[torch.nn.Parameter], float], torch.optim.Optimizer]


@dataclass(frozen=True)
class Settings:
    """The settings that all methods share.

    Attributes:
        steps: Optimizer steps at most.
        learning_rate: None for a share of the consortium's, a tenth unless the method says
            otherwise.
        batch_size: Pairs of the forget set in a step, and as many of the retain set.
        gamma: The weight of the forget term.
        alpha: The weight of the retain term.
        retain_loss: "nll", or "kl" to the reference.
        prompt_in_loss: Whether the tokens of questions count too. Published methods count answers
            only, but then a router by likelihood still sends the questions to the block.
        enough: Stop once the guard finds the forget answers at this many nats a token.
            "never-taught" is the value of a model that never saw them; None trains all steps.
        guard: The limits at which training stops because it forgets too much.
    """

    steps: int = 60
    learning_rate: float | None = None
    batch_size: int = 16
    gamma: float = 1.0
    alpha: float = 1.0
    retain_loss: Literal["nll", "kl"] = "nll"
    prompt_in_loss: bool = False
    enough: float | Literal["never-taught"] | None = "never-taught"
    guard: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError(
                f"steps is {self.steps} and batch_size is {self.batch_size}. Both must be at least "
                "1."
            )
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise ConfigError(
                f"learning_rate is {self.learning_rate}. It must be above 0, at most 1."
            )
        if not (self.gamma > 0 and self.alpha >= 0):
            raise ConfigError(
                f"gamma is {self.gamma} and alpha is {self.alpha}. gamma must be above 0, and "
                "alpha 0 or more."
            )
        if self.retain_loss not in ("nll", "kl"):
            raise ConfigError(f"retain_loss is {self.retain_loss!r}. Use 'nll' or 'kl'.")
        if isinstance(self.enough, str) and self.enough != "never-taught":
            raise ConfigError(
                f"enough is {self.enough!r}. Use 'never-taught', a loss in nats, or None."
            )


def adamw(parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return AdamW without weight decay, as in training."""
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)


@dataclass(frozen=True)
class Plan:
    """The parts of a method's training step.

    Terms are functions of the views of the trained network and those of the reference. Views are
    named after their data: "forget", "counterpart", "retain".

    Attributes:
        forget: The forget term.
        retain: The retain term, None for that of the settings.
        trained: The data that the trained network must see.
        reference: The data that the reference must see.
        counterpart: Other answers to the forget questions, pair by pair.
        layer: The decoder layer whose output the terms need.
        names: The tensors that change, None for all trainable ones.
        rule: Corrections, for example a penalty or a projection.
        optimizer: Makes the optimizer from parameters and a learning rate.
        start: The tensors that training starts from, None for the problem's.
        rate: The share of the consortium's learning rate when the settings have no rate.
        clip: The largest L2 norm of a step's gradient.
    """

    forget: Term
    retain: Term | None = None
    trained: tuple[str, ...] = ("forget",)
    reference: tuple[str, ...] = ()
    counterpart: Sequence[Example] | None = None
    layer: int | None = None
    names: Sequence[str] | None = None
    rule: Rule = field(default_factory=Rule)
    optimizer: Optimizer = adamw
    start: FloatTensors | None = None
    rate: float = 0.1
    clip: float = 1.0


def counter_train(problem: Problem, method: str, settings: Settings, plan: Plan) -> Outcome:
    """Train until the steps are done, the forget answers are unlikely enough, or the guard objects.

    The report says which: `ended` is "steps", "enough" or "guard". `verdict`, `why` and `figures`
    are the guard's for the last state; `stopped_at` is the step of that state if the guard objects
    to it, else None. The outcome's tensors are those of `kept_step`, the last state that the guard
    accepted, whose figures are `kept`. If that is step 0 there is nothing to register, and
    `counter_delta` raises.

    Raises:
        DataError: A pair is too long, or the retain set is missing.
        TrainingError: A loss or a gradient is not finite.
    """
    began = time.monotonic()
    device = problem.model.base.device.type
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.manual_seed(problem.seed)
    run = _Run(problem, method, settings, plan)
    every = settings.guard.every
    for step in range(1, settings.steps + 1):
        run.step(step - 1)
        due = step == settings.steps or (every and step % every == 0)
        if due and run.look(step):
            break
    return run.outcome(time.monotonic() - began)


class _Run:
    """The state of one counter-training."""

    def __init__(self, problem: Problem, method: str, settings: Settings, plan: Plan) -> None:
        self.problem, self.method, self.settings, self.plan = problem, method, settings, plan
        self.model: LoraModel = problem.model
        self.terms = _terms(problem, method, settings, plan)
        self.rows = _encoded(problem, plan)
        self.model.put(_REFERENCE, problem.start)
        self.model.put(_TRAINED, plan.start or problem.start)
        reference = self.model.use(_REFERENCE)
        self.guard = Guard(problem, reference, settings.guard, plan.counterpart or ())
        self.everything = self.model.parameters(_TRAINED)
        names = plan.names if plan.names is not None else self.model.trainable
        self.tensors = {name: self.everything[name] for name in sorted(names)}
        consortium = problem.parameters.training.learning_rate
        self.rate = settings.learning_rate or consortium * plan.rate
        self.optimizer = plan.optimizer(list(self.tensors.values()), self.rate)
        self.forget_order = _order(len(problem.forget), settings.batch_size, problem.seed, 0)
        self.retain_order = _order(len(problem.retain), settings.batch_size, problem.seed, 1)
        self.losses: list[dict[str, float]] = []
        self.verdict = Verdict("ok", "", self.guard.before.figures)
        self.kept, self.kept_step = self._trainable(problem.start), 0
        self.kept_figures = self.verdict.figures
        self.ended, self.objections, self.tokens = "steps", 0, 0
        self.began = time.monotonic()

    def step(self, step: int) -> None:
        """Train one step; `step` counts from 0."""
        indices = next(self.forget_order)
        batches = self._batches(indices)
        self.plan.rule.before_forward(step, indices, self.tensors)
        with torch.no_grad():
            reference = self._views(_REFERENCE, self.terms.reference, batches)
        network_views = self._views(_TRAINED, self.terms.trained, batches)
        terms = {"forget": self.settings.gamma * self.plan.forget(network_views, reference)}
        if self.terms.retain is not None:
            terms["retain"] = self.settings.alpha * self.terms.retain(network_views, reference)
        penalty = self.plan.rule.penalty(self.tensors)
        if penalty is not None:
            terms["penalty"] = penalty
        self._apply(step, indices, torch.stack(list(terms.values())).sum())
        self._record(step, {name: float(term.detach()) for name, term in terms.items()})
        self.tokens += sum(int(each.counted.sum()) for each in network_views.values())

    def _apply(self, step: int, indices: Sequence[int], loss: torch.Tensor) -> None:
        self._demand_finite(step, "loss", float(loss.detach()))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * rate_factor(step, self.settings.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.plan.rule.after_backward(step, indices, self.tensors)
        norm = torch.nn.utils.clip_grad_norm_(list(self.tensors.values()), self.plan.clip)
        self._demand_finite(step, "gradient", float(norm))
        self.optimizer.step()
        self.plan.rule.after_step(step, indices, self.tensors)

    def look(self, step: int) -> bool:
        """Let the guard judge the state, and return whether to stop."""
        now = self.model.get(_TRAINED)
        change = {name: now[name].astype(np.float64) - self.problem.start[name] for name in now}
        self.verdict = self.guard.look(self.model.use(_TRAINED), change_norm=l2_norm(change))
        if not self.verdict.ok:
            self.objections += 1
            if self.verdict.state == "diverged" or self.objections >= self.settings.guard.patience:
                self.ended = "guard"
            return self.ended == "guard"
        self.objections = 0
        self.kept, self.kept_step = self._trainable(now), step
        self.kept_figures = self.verdict.figures
        if self._enough(self.verdict.figures.forget_loss):
            self.ended = "enough"
        return self.ended == "enough"

    def _enough(self, loss: float) -> bool:
        wanted = self.settings.enough
        if wanted is None:
            return False
        return loss >= (
            self.guard.before.never_taught if isinstance(wanted, str) else float(wanted)
        )

    def outcome(self, seconds: float) -> Outcome:
        """Return the last accepted state with its report."""
        report = {
            "settings": _plain(self.settings),
            "learning_rate": self.rate,
            "steps": len(self.losses),
            "tokens": self.tokens,
            "seconds": seconds,
            "losses": _thinned(self.losses),
            "before": asdict(self.guard.before),
            "ended": self.ended,
            "stopped_at": None if self.verdict.ok else len(self.losses),
            "kept_step": self.kept_step,
            "kept": asdict(self.kept_figures),
            **self.verdict.to_dict(),
        }
        return Outcome(self.method, self.kept, report)

    def _views(self, adapter: str, names: Sequence[str], batches: Mapping[str, Batch]) -> Views:
        if not names:
            return {}
        network = self.model.use(adapter)
        # peft makes all of the chosen adapter trainable, and nothing else.
        for name, tensor in self.everything.items():
            tensor.requires_grad_(adapter == _TRAINED and name in self.tensors)
        return {name: view(network, batches[name], self.plan.layer) for name in names}

    def _batches(self, indices: Sequence[int]) -> dict[str, Batch]:
        chosen: dict[str, Sequence[int]] = {"forget": indices, "counterpart": indices}
        if "retain" in self.terms.trained:
            chosen["retain"] = next(self.retain_order)
        return {
            name: Batch.of(
                self.model.base,
                [self.rows[name][index] for index in chosen[name]],
                prompt_in_loss=self.settings.prompt_in_loss and name != "counterpart",
            )
            for name in {*self.terms.trained, *self.terms.reference}
        }

    def _trainable(self, tensors: FloatTensors) -> dict[str, Any]:
        return {name: np.array(tensors[name], dtype=np.float32) for name in self.model.trainable}

    def _demand_finite(self, step: int, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"{self.method}: the {what} is {value} at step {step + 1} of "
                f"{self.settings.steps}, so nothing was kept. Set a lower learning_rate (now "
                f"{self.rate:g}) or gamma (now {self.settings.gamma:g})."
            )

    def _record(self, step: int, terms: Mapping[str, float]) -> None:
        loss = sum(terms.values())
        self.losses.append({"step": step + 1, "loss": loss, **terms})
        if self.problem.progress:
            elapsed = max(time.monotonic() - self.began, 1e-9)
            self.problem.progress(
                Progress(step + 1, self.settings.steps, loss, self.tokens / elapsed)
            )


@dataclass(frozen=True)
class _Terms:
    retain: Term | None
    trained: tuple[str, ...]
    reference: tuple[str, ...]


def _terms(problem: Problem, method: str, settings: Settings, plan: Plan) -> _Terms:
    if settings.alpha == 0:
        wanted = tuple(name for name in plan.reference if name != "retain")
        return _Terms(None, plan.trained, wanted)
    if not problem.retain:
        raise DataError(
            f"{method} needs a retain set. Give pairs to keep, or set alpha to 0 to train without."
        )
    trained = tuple(dict.fromkeys((*plan.trained, "retain")))
    if plan.retain is not None:
        return _Terms(plan.retain, trained, plan.reference)
    if settings.retain_loss == "nll":
        return _Terms(_retain_nll, trained, plan.reference)
    return _Terms(_retain_kl, trained, tuple(dict.fromkeys((*plan.reference, "retain"))))


def _retain_nll(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
    return losses.nll(trained["retain"].log_probs, trained["retain"].counted)


def _retain_kl(trained: Views, reference: Views) -> torch.Tensor:
    now = trained["retain"]
    return losses.kl(now.logits, reference["retain"].logits, now.counted)


def _encoded(problem: Problem, plan: Plan) -> dict[str, list[Encoded]]:
    length = problem.parameters.training.max_length
    data = {
        "forget": problem.forget,
        "retain": problem.retain,
        "counterpart": plan.counterpart or (),
    }
    return {
        name: [encode_example(problem.model.base, example, length) for example in examples]
        for name, examples in data.items()
    }


def _order(rows: int, size: int, seed: int, stream: int) -> Iterator[list[int]]:
    """Yield batches of indices: all rows in a seeded order, then again in another."""
    generator = np.random.default_rng([seed, stream])
    size = min(size, rows)
    pending: list[int] = []
    while True:
        while len(pending) < size:
            pending += generator.permutation(rows).tolist()
        yield pending[:size]
        pending = pending[size:]


def _thinned(entries: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    indices = np.linspace(0, len(entries) - 1, min(len(entries), _KEPT_LOSSES)).round().astype(int)
    return [entries[index] for index in indices]


def _plain(settings: Settings) -> dict[str, Any]:
    """Return the settings for a report: without tensors, questions and answers."""
    limits = asdict(settings.guard)
    shown = {each.name: getattr(settings, each.name) for each in fields(settings)}
    kept = {name: value for name, value in shown.items() if _may_be_shown(value)}
    return {**kept, "guard": limits}


def _may_be_shown(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(each, str) for each in value)
    return value is None or isinstance(value, (bool, int, float, str))
