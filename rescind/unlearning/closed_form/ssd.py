"""Selective synaptic dampening of LoRA factors (Foster et al. 2023, arXiv 2308.07707).

An entry that matters far more to the forget set than to all data is made smaller. The method works
elementwise, so the result is a pair of factors of the same rank, and it needs nothing except
Fishers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import ConsortiumParameters, FloatTensors, NotFinite, WrongShape
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.core.posted import (
    Posted,
    check_posted,
    combine,
    point_id,
)
from rescind.unlearning.closed_form.settings import FisherMeasure
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register

if TYPE_CHECKING:
    from rescind.training import Example, LoraModel


class NothingSelected(TrainingError):
    """A method found nothing that belongs to the forget set alone."""

    code = "nothing-selected"


@dataclass(frozen=True)
class SsdSettings:
    """Settings of selective synaptic dampening.

    Selected entries are multiplied by min((dampening x I_D / I_F)^exponent, bound).

    Attributes:
        selection: How many times more an entry must matter to the forget set than to all data (the
            paper's alpha).
        dampening: The paper's lambda.
        exponent: See above.
        bound: See above.
        measure: How the Fishers are measured.
        posted: Fishers of all organizations' data under this block. Without any, the organization's
            own data is measured, or forget and retain set.

    With per-example Fishers and F among the n pairs that I_D is of, an entry's ratio I_F / I_D is
    at most n / |F|: `selection` must be below that.
    """

    selection: float = 10.0
    dampening: float = 1.0
    exponent: float = 1.0
    bound: float = 1.0
    measure: FisherMeasure = field(default_factory=FisherMeasure)
    posted: tuple[Posted, ...] = ()

    def __post_init__(self) -> None:
        positive = (self.selection, self.exponent, self.bound)
        if not (all(np.isfinite(v) and v > 0 for v in positive) and self.bound <= 1):
            raise ConfigError(
                f"selection, exponent and bound are {positive}. All must be above 0, and bound at "
                "most 1."
            )
        if not (np.isfinite(self.dampening) and self.dampening >= 0):
            raise ConfigError(f"dampening is {self.dampening}. It must be 0 or more.")


def factors_of(
    forget: NDArray[Any], everything: NDArray[Any], settings: SsdSettings
) -> NDArray[np.float64]:
    """Return the factor of each entry: 1 where it is not selected. Selected: I_F > selection x I_D.

    0/0 is never reached: an entry with I_F = 0 is not selected; one with I_D = 0 alone gets 0.

    Raises:
        WrongShape: The Fishers have different shapes.
        NotFinite: A Fisher is negative or not finite.
    """
    i_f, i_d = np.asarray(forget, dtype=np.float64), np.asarray(everything, dtype=np.float64)
    if i_f.shape != i_d.shape:
        raise WrongShape(
            f"Fishers of shapes {i_f.shape} and {i_d.shape} do not compare. Measure both on one "
            "block."
        )
    for value in (i_f, i_d):
        if not (np.isfinite(value).all() and (value >= 0).all()):
            raise NotFinite("A Fisher is negative, NaN or infinite. Measure it again.")
    chosen = i_f > settings.selection * i_d
    beta = np.ones(i_f.shape)
    ratio = settings.dampening * i_d[chosen] / i_f[chosen]
    beta[chosen] = np.minimum(ratio**settings.exponent, settings.bound)
    return beta


def fisher_of_block(
    model: LoraModel,
    parameters: ConsortiumParameters,
    owner: str,
    tensors: FloatTensors,
    examples: Sequence[Example],
    measure: FisherMeasure | None = None,
) -> Posted:
    """Measure the Fisher that an organization posts about examples under a block, at `tensors`."""
    from rescind.unlearning.closed_form.measure import fisher

    wanted = measure or FisherMeasure()
    length = parameters.training.max_length
    tensors_fisher = fisher(model, tensors, examples, max_length=length, measure=wanted)
    return Posted(
        "fisher",
        parameters.base_model_id,
        owner,
        point_id(tensors),
        str(wanted),
        len(examples),
        tensors_fisher,
    )


def posted_fisher(
    problem: Problem, examples: Sequence[Example], measure: FisherMeasure | None = None
) -> Posted:
    """Measure the Fisher under the problem's block, at its start."""
    return fisher_of_block(
        problem.model, problem.parameters, problem.owner, problem.start, examples, measure
    )


@register(
    SsdSettings,
    source="arXiv 2308.07707",
    needs_retain=False,
    trains=False,
)
def ssd(problem: Problem, settings: SsdSettings) -> Outcome:
    """Dampen the entries that matter to the forget set alone.

    Raises:
        NothingSelected: No entry is selected.
        PostedMismatch: Posted Fishers are of another block or measure.
        WrongShape: Posted Fishers have other shapes.
        DataError: There is no data to compare with.
    """
    everything = _everything(problem, settings)
    forget = posted_fisher(problem, problem.forget, settings.measure)
    tensors: dict[str, NDArray[np.float32]] = {}
    selected: dict[str, int] = {}
    highest, entries = 0.0, 0
    for name in problem.model.trainable:
        i_f, i_d = forget.tensors[name], everything.tensors[name]
        beta = factors_of(i_f, i_d, settings)
        tensors[name] = (problem.start[name] * beta).astype(np.float32)
        selected[name] = int((beta != 1).sum())
        entries += beta.size
        highest = max(highest, _highest_ratio(i_f, i_d))
    if not any(not np.array_equal(tensors[name], problem.start[name]) for name in tensors):
        raise NothingSelected(
            f"No entry matters {settings.selection} times more to the forget set than to all data "
            f"(at most {highest:.3g} times; {everything.count / len(problem.forget):.3g} is the "
            "most there can be): set selection below that."
        )
    return Outcome(
        "ssd", tensors, _report(problem, settings, everything, selected, entries, highest)
    )


def _everything(problem: Problem, settings: SsdSettings) -> Posted:
    if settings.posted:
        for part in settings.posted:
            check_posted(
                part,
                kind="fisher",
                parameters=problem.parameters,
                owner=problem.owner,
                measure=str(settings.measure),
            )
        return combine(settings.posted)
    if problem.own is None and not problem.retain:
        raise DataError(
            "Dampening compares with all data, and there is none. Give posted Fishers, the "
            "organization's own data or a retain set."
        )
    own = problem.own if problem.own is not None else [*problem.forget, *problem.retain]
    return posted_fisher(problem, own, settings.measure)


def _highest_ratio(forget: NDArray[Any], everything: NDArray[Any]) -> float:
    relevant = forget > 0
    if not relevant.any():
        return 0.0
    with np.errstate(divide="ignore"):
        return float((forget[relevant].astype(np.float64) / everything[relevant]).max())


def _report(
    problem: Problem,
    settings: SsdSettings,
    everything: Posted,
    selected: Mapping[str, int],
    entries: int,
    highest: float,
) -> dict[str, Any]:
    return {
        "selection": settings.selection,
        "dampening": settings.dampening,
        "measure": str(settings.measure),
        "posted": sorted(part.id for part in settings.posted),
        "measured_elsewhere": everything.point != point_id(problem.start),
        "compared_with": everything.count,
        "selected": {name: count for name, count in selected.items() if count},
        "selected_share": sum(selected.values()) / entries,
        "highest_ratio": highest,
    }
