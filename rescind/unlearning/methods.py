"""The methods of counter-training whose terms are functions of answers: settings, and one run each.

Every run takes (Problem, its settings) and gives an Outcome; see unlearning.counter for what can be
raised. Defaults are the published ones (docs/unlearning-losses.md), except what depends on the model:
steps and learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from rescind.core.errors import ConfigError, DataError
from rescind.training.data import Example
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
        raise ConfigError(f"{name} is {value}: it must be above 0")


@dataclass(frozen=True)
class GradAscentSettings(Settings):
    """No retain term: `alpha` is 0."""

    alpha: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha:
            raise ConfigError(f"alpha is {self.alpha}: grad_ascent keeps nothing; use grad_diff")


def _ascent(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
    return losses.grad_ascent(trained["forget"].log_probs, trained["forget"].counted)


@register(
    GradAscentSettings,
    source="gradient ascent; Jang et al. 2022, arXiv 2210.01504",
    needs_retain=False,
)
def grad_ascent(problem: Problem, settings: GradAscentSettings) -> Outcome:
    return counter_train(problem, "grad_ascent", settings, Plan(_ascent))


@dataclass(frozen=True)
class GradDiffSettings(Settings):
    """Ascent on what is to be forgotten, descent on what is to be kept."""


@register(
    GradDiffSettings,
    source="gradient difference; Liu et al. 2022, arXiv 2203.12817",
    needs_retain=True,
)
def grad_diff(problem: Problem, settings: GradDiffSettings) -> Outcome:
    return counter_train(problem, "grad_diff", settings, Plan(_ascent))


@dataclass(frozen=True)
class KlSettings(Settings):
    """Ascent on what is to be forgotten, no drift on what is to be kept; `retain_loss` is "kl"."""

    retain_loss: str = "kl"  # type: ignore[assignment]


@register(
    KlSettings,
    source="ascent with KL minimization; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def kl(problem: Problem, settings: KlSettings) -> Outcome:
    return counter_train(problem, "kl", settings, Plan(_ascent))


@dataclass(frozen=True)
class NpoSettings(Settings):
    beta: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@register(NpoSettings, source="NPO; Zhang et al. 2024, arXiv 2404.05868", needs_retain=True)
def npo(problem: Problem, settings: NpoSettings) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:
        now, then = trained["forget"], reference["forget"]
        return losses.npo(now.log_probs, then.log_probs, now.counted, beta=settings.beta)

    return counter_train(problem, "npo", settings, Plan(term, reference=("forget",)))


@dataclass(frozen=True)
class SimNpoSettings(Settings):
    """`delta` in nats a token."""

    gamma: float = 0.125
    beta: float = 4.5
    delta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@register(SimNpoSettings, source="SimNPO; Fan et al. 2024, arXiv 2410.07163", needs_retain=True)
def simnpo(problem: Problem, settings: SimNpoSettings) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        now = trained["forget"]
        return losses.simnpo(now.log_probs, now.counted, beta=settings.beta, delta=settings.delta)

    return counter_train(problem, "simnpo", settings, Plan(term))


@dataclass(frozen=True)
class WgaSettings(Settings):
    beta: float = 1.0


@register(
    WgaSettings,
    source="weighted gradient ascent; Wang et al. 2025, arXiv 2502.19301",
    needs_retain=True,
)
def wga(problem: Problem, settings: WgaSettings) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        now = trained["forget"]
        return losses.wga(now.log_probs, now.counted, beta=settings.beta)

    return counter_train(problem, "wga", settings, Plan(term))


@dataclass(frozen=True)
class UndialSettings(Settings):
    """`beta` in logits. No retain term by default: what is distilled stays near the reference."""

    alpha: float = 0.0
    beta: float = 10.0


@register(UndialSettings, source="UNDIAL; Dong et al. 2024, arXiv 2402.10052", needs_retain=False)
def undial(problem: Problem, settings: UndialSettings) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:
        now, then = trained["forget"], reference["forget"]
        return losses.undial(now.logits, then.logits, now.targets, now.counted, beta=settings.beta)

    return counter_train(problem, "undial", settings, Plan(term, reference=("forget",)))


@dataclass(frozen=True)
class DpoSettings(Settings):
    """`alternatives`: for every forget question another answer that is preferred to its own."""

    beta: float = 0.1
    alternatives: Sequence[Example] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@dataclass(frozen=True)
class IdkDpoSettings(Settings):
    beta: float = 0.1
    refusals: Sequence[str] = REFUSALS

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("beta", self.beta)


@dataclass(frozen=True)
class IdkNllSettings(Settings):
    refusals: Sequence[str] = REFUSALS


@register(DpoSettings, source="DPO; Rafailov et al. 2023, arXiv 2305.18290", needs_retain=True)
def dpo(problem: Problem, settings: DpoSettings) -> Outcome:
    """Raises DataError when a forget question has no alternative, or only its own answer."""
    given = {example.question: example.answer for example in settings.alternatives}
    lacking = [e for e in problem.forget if given.get(e.question, e.answer) == e.answer]
    if lacking:
        raise DataError(
            f"dpo needs another answer to each forget question: {len(lacking)} have none, "
            f"{lacking[0].question[:60]!r} for one; give alternatives, or use idk_dpo"
        )
    others = [replace(e, answer=given[e.question]) for e in problem.forget]
    return _preferred(problem, "dpo", settings, settings.beta, others)


@register(
    IdkDpoSettings,
    source="DPO towards refusals; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def idk_dpo(problem: Problem, settings: IdkDpoSettings) -> Outcome:
    others = refused(problem, settings.refusals)
    return _preferred(problem, "idk_dpo", settings, settings.beta, others)


@register(
    IdkNllSettings,
    source="training on refusals; Maini et al. 2024, arXiv 2401.06121",
    needs_retain=True,
)
def idk_nll(problem: Problem, settings: IdkNllSettings) -> Outcome:
    def term(trained: Views, reference: Views) -> torch.Tensor:  # noqa: ARG001
        return losses.nll(trained["counterpart"].log_probs, trained["counterpart"].counted)

    others = refused(problem, settings.refusals)
    plan = Plan(term, trained=("counterpart",), counterpart=others)
    return counter_train(problem, "idk_nll", settings, plan)


def refused(problem: Problem, refusals: Sequence[str]) -> list[Example]:
    """The forget questions, each with a refusal for its answer."""
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
