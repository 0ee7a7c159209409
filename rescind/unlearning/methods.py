"""Counter-training methods whose terms are functions of answers: their settings and runs.

Each method takes a Problem and its settings, and returns an Outcome; `counter_train` lists the
errors. Defaults are the published ones (docs/unlearning-losses.md), except those that depend on the
model: steps and learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rescind.core.errors import ConfigError, DataError
from rescind.training import Example
from rescind.training.serving.refusals import REFUSALS, refusal
from rescind.unlearning import losses
from rescind.unlearning.counter import (
    Plan,
    Settings,
    Views,
    counter_train,
)
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} is {value}. It must be above 0.")


@dataclass(frozen=True)
class GradAscentSettings(Settings):
    """Settings of gradient ascent, which has no retain term: `alpha` is 0."""

    alpha: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha:
            raise ConfigError(
                f"alpha is {self.alpha}, but grad_ascent has no retain term: use grad_diff."
            )


def _ascent(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
    return losses.grad_ascent(trained["forget"].log_probs, trained["forget"].counted)


@register(
    GradAscentSettings,
    source="gradient ascent; Jang et al. 2022, arXiv 2210.01504",
    needs_retain=False,
)
def grad_ascent(problem: Problem, settings: GradAscentSettings) -> Outcome:
    """Make the forget answers less likely."""
    return counter_train(problem, "grad_ascent", settings, Plan(_ascent))


@dataclass(frozen=True)
class GradDiffSettings(Settings):
    """Settings of gradient difference."""


@register(
    GradDiffSettings,
    source="gradient difference; Liu et al. 2022, arXiv 2203.12817",
    needs_retain=True,
)
def grad_diff(problem: Problem, settings: GradDiffSettings) -> Outcome:
    """Ascend on the forget answers and descend on the retain answers."""
    return counter_train(problem, "grad_diff", settings, Plan(_ascent))


@dataclass(frozen=True)
class KlSettings(Settings):
    """Settings of KL minimization; `retain_loss` is "kl"."""

    retain_loss: str = "kl"  # type: ignore[assignment]


@register(
    KlSettings,
    source="ascent with KL minimization; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def kl(problem: Problem, settings: KlSettings) -> Outcome:
    """Ascend on the forget answers and hold the retain answers near the reference."""
    return counter_train(problem, "kl", settings, Plan(_ascent))


@dataclass(frozen=True)
class NpoSettings(Settings):
    """Settings of NPO; see `losses.npo`."""

    beta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@register(NpoSettings, source="NPO; Zhang et al. 2024, arXiv 2404.05868", needs_retain=True)
def npo(problem: Problem, settings: NpoSettings) -> Outcome:
    """Run negative preference optimization."""

    def term(trained: Views, reference: Views) -> torch.Tensor:
        now, then = trained["forget"], reference["forget"]
        return losses.npo(now.log_probs, then.log_probs, now.counted, beta=settings.beta)

    return counter_train(problem, "npo", settings, Plan(term, reference=("forget",)))


@dataclass(frozen=True)
class SimNpoSettings(Settings):
    """Settings of SimNPO; see `losses.simnpo`. `delta` is in nats a token."""

    gamma: float = 0.125
    beta: float = 4.5
    delta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@register(SimNpoSettings, source="SimNPO; Fan et al. 2024, arXiv 2410.07163", needs_retain=True)
def simnpo(problem: Problem, settings: SimNpoSettings) -> Outcome:
    """Run negative preference optimization without a reference."""

    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        now = trained["forget"]
        return losses.simnpo(now.log_probs, now.counted, beta=settings.beta, delta=settings.delta)

    return counter_train(problem, "simnpo", settings, Plan(term))


@dataclass(frozen=True)
class WgaSettings(Settings):
    """Settings of weighted gradient ascent; see `losses.wga`."""

    beta: float = 1.0


@register(
    WgaSettings,
    source="weighted gradient ascent; Wang et al. 2025, arXiv 2502.19301",
    needs_retain=True,
)
def wga(problem: Problem, settings: WgaSettings) -> Outcome:
    """Run weighted gradient ascent."""

    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        now = trained["forget"]
        return losses.wga(now.log_probs, now.counted, beta=settings.beta)

    return counter_train(problem, "wga", settings, Plan(term))


@dataclass(frozen=True)
class UndialSettings(Settings):
    """Settings of UNDIAL. `beta` is in logits.

    There is no retain term by default, because distillation stays near the reference.
    """

    alpha: float = 0.0
    beta: float = 10.0


@register(UndialSettings, source="UNDIAL; Dong et al. 2024, arXiv 2402.10052", needs_retain=False)
def undial(problem: Problem, settings: UndialSettings) -> Outcome:
    """Distil the reference with the forget answers' logits lowered."""

    def term(trained: Views, reference: Views) -> torch.Tensor:
        now, then = trained["forget"], reference["forget"]
        return losses.undial(now.logits, then.logits, now.targets, now.counted, beta=settings.beta)

    return counter_train(problem, "undial", settings, Plan(term, reference=("forget",)))


@dataclass(frozen=True)
class DpoSettings(Settings):
    """Settings of DPO. `alternatives` has another, preferred answer to every forget question."""

    beta: float = 0.1
    alternatives: Sequence[Example] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@dataclass(frozen=True)
class IdkDpoSettings(Settings):
    """Settings of DPO towards refusals."""

    beta: float = 0.1
    refusals: Sequence[str] = REFUSALS

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@dataclass(frozen=True)
class IdkNllSettings(Settings):
    """Settings of training on refusals."""

    refusals: Sequence[str] = REFUSALS


@register(DpoSettings, source="DPO; Rafailov et al. 2023, arXiv 2305.18290", needs_retain=True)
def dpo(problem: Problem, settings: DpoSettings) -> Outcome:
    """Prefer other answers to the forget answers.

    Raises:
        DataError: A forget question has no alternative, or only its own answer.
    """
    given = {example.question: example.answer for example in settings.alternatives}
    missing = [e for e in problem.forget if given.get(e.question, e.answer) == e.answer]
    if missing:
        raise DataError(
            f"dpo needs another answer to each forget question: {len(missing)} have none, for "
            f"example {missing[0].question[:60]!r}. Give alternatives, or use idk_dpo."
        )
    others = [replace(e, answer=given[e.question]) for e in problem.forget]
    return _preferred(problem, "dpo", settings, settings.beta, others)


@register(
    IdkDpoSettings,
    source="DPO towards refusals; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def idk_dpo(problem: Problem, settings: IdkDpoSettings) -> Outcome:
    """Prefer refusals to the forget answers."""
    others = refused(problem, settings.refusals)
    return _preferred(problem, "idk_dpo", settings, settings.beta, others)


@register(
    IdkNllSettings,
    source="training on refusals; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def idk_nll(problem: Problem, settings: IdkNllSettings) -> Outcome:
    """Train on refusals."""

    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        return losses.nll(trained["counterpart"].log_probs, trained["counterpart"].counted)

    others = refused(problem, settings.refusals)
    plan = Plan(term, trained=("counterpart",), counterpart=others)
    return counter_train(problem, "idk_nll", settings, plan)


def refused(problem: Problem, refusals: Sequence[str]) -> list[Example]:
    """Return the forget questions, each with a refusal as its answer."""
    return [
        replace(each, answer=refusal(each.question, problem.seed, refusals))
        for each in problem.forget
    ]


def _preferred(
    problem: Problem, name: str, settings: Settings, beta: float, others: Sequence[Example]
) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:
        wanted, unwanted = trained["counterpart"], trained["forget"]
        return losses.dpo(
            wanted.log_probs,
            reference["counterpart"].log_probs,
            wanted.counted,
            unwanted.log_probs,
            reference["forget"].log_probs,
            unwanted.counted,
            beta=beta,
        )

    both = ("counterpart", "forget")
    plan = Plan(term, trained=both, reference=both, counterpart=others)
    return counter_train(problem, name, settings, plan)
