"""Redirecting what an MLP writes for the forget set, by ridge regression of its output projection.

The function family of LUNAR (arXiv 2502.07218) and STAMP (arXiv 2604.12820), solved as least squares;
the equations are ours (`ridge`). Inputs K_f of the projection on forget tokens get new outputs Z, its
inputs on retain tokens keep theirs. What is registered has the block's shapes: where A is trained, the
block's product with the whole edit added and cut to the block's rank; where it is frozen, the best
change of B alone, Delta = s dB A. How far that is from the unconstrained solution is in the report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.core.statistics import Posted
from rescind.unlearning.closed_form.factors import (
    Factors,
    Matrix,
    align,
    compress,
    concatenate,
    difference,
    relative_error,
    scale_by,
)
from rescind.unlearning.closed_form.partial import keep_moments
from rescind.unlearning.closed_form.ridge import ridge_edit, ridge_edit_within
from rescind.unlearning.closed_form.settings import Positions, check_positions
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register

if TYPE_CHECKING:
    from rescind.training import Example
    from rescind.unlearning.closed_form.measure import Activations

Target = Literal["direction", "activation", "base"]
_TARGETS: tuple[Target, ...] = ("direction", "activation", "base")


@dataclass(frozen=True)
class RedirectSettings:
    """`target`: what the outputs become. "direction" (LUNAR): h + c r, r from the forget questions'
    mean state after the layer to the refused questions'. "activation" (STAMP): h + c (a - h), a the
    mean output on refused questions. "base": h + c (h0 - h), h0 what the bare base has at that token.
    `refusals`: questions that the model refuses; none: the forget questions as the bare base, which
    never knew, sees them. `layers`: decoder layers from 0, edited in rising order; None: the one where
    forget and refused questions differ most. `positions`, `keep_positions`: the tokens to forget on and
    those to keep. `eta`: weight of a token to keep against one to forget.
    `ridge`: mu in units of the mean eigenvalue of what it is added to. `fixed_a`: change B alone even
    where A is trained. `posted`: moments of the data to keep, at `keep_positions`, which are of A x
    and so only allow a change of B; none: the retain set is measured.
    """

    target: Target = "direction"
    c: float = 2.0
    eta: float = 1.0
    ridge: float = 1e-3
    layers: tuple[int, ...] | None = None
    positions: Positions = "last-prompt"
    keep_positions: Positions = "all"
    refusals: tuple[str, ...] = ()
    projection: str = "mlp.down_proj"
    fixed_a: bool = False
    posted: tuple[Posted, ...] = ()

    def __post_init__(self) -> None:
        if self.target not in _TARGETS:
            raise ConfigError(f"target is {self.target!r}: it is one of {', '.join(_TARGETS)}")
        if not (np.isfinite(self.c) and self.c != 0):
            raise ConfigError(f"c is {self.c}: it is finite and not 0")
        if not (np.isfinite(self.eta) and self.eta >= 0):
            raise ConfigError(f"eta is {self.eta}: it is 0 or more")
        if not (np.isfinite(self.ridge) and self.ridge > 0):
            raise ConfigError(f"ridge is {self.ridge}: it is above 0")
        if self.layers is not None and not self.layers:
            raise ConfigError("layers is empty: name at least one, or None to have it chosen")
        check_positions(self.positions)
        check_positions(self.keep_positions)


@dataclass(frozen=True, eq=False)
class Edit:
    """Of one layer. `after`: the factors then. `left`: share of the wanted change of outputs on the
    forget tokens that did not come about; `left_unconstrained`: the same for the unconstrained solution.
    `error`: relative distance of the two, None when retain inputs are not here."""

    after: Factors
    left: float
    left_unconstrained: float | None
    error: float | None
    forget_tokens: int
    keep_tokens: int


def projections(problem: Problem, suffix: str) -> list[str]:
    """The modules that end in `suffix`, by layer. Raises ConfigError when LoRA changes none."""
    ending = f".{suffix}.lora_A"
    found = [n.removesuffix(".lora_A") for n in problem.model.shapes if n.endswith(ending)]
    if not found:
        raise ConfigError(
            f"no module with LoRA ends in {suffix!r}: set projection to the name of the MLP's output "
            "projection"
        )
    return sorted(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


@register(
    RedirectSettings,
    source="arXiv 2502.07218, arXiv 2604.12820",
    needs_retain=True,
    trains=False,
)
def redirect(problem: Problem, settings: RedirectSettings) -> Outcome:
    """Raises DataError when nothing says what to keep (unless eta is 0), ConfigError for a layer that
    is not there, PostedMismatch."""
    names = projections(problem, settings.projection)
    layers, separation = _layers(problem, settings, names)
    keep = None
    if settings.posted:
        keep = keep_moments(problem, settings.posted, settings.keep_positions)
    elif settings.eta > 0 and not problem.retain:
        raise DataError(
            "nothing says what to keep: give a retain set or posted moments, or set eta to 0"
        )
    start = {name: value.astype(np.float32) for name, value in problem.start.items()}
    edits: dict[str, Edit] = {}
    for layer in layers:
        module = names[layer]
        edit = _edit(problem, settings, start, module, keep)
        start[f"{module}.lora_B"] = edit.after.b.astype(np.float32)
        if _moves_a(problem, settings):
            start[f"{module}.lora_A"] = edit.after.a.astype(np.float32)
        edits[module] = edit
    tensors = {name: start[name] for name in problem.model.trainable}
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise TrainingError("the redirected projection is not finite: raise ridge or lower c")
    return Outcome(
        "redirect",
        tensors,
        _report(settings, layers, separation, edits, _moves_a(problem, settings)),
    )


def _edit(
    problem: Problem,
    settings: RedirectSettings,
    tensors: dict[str, NDArray[np.float32]],
    module: str,
    posted: Posted | None,
) -> Edit:
    seen = _seen(problem, settings, tensors, problem.forget, module)
    wanted = _wanted(problem, settings, tensors, module, seen)
    old = Factors(
        tensors[f"{module}.lora_B"].astype(np.float64),
        tensors[f"{module}.lora_A"].astype(np.float64),
    )
    keep = np.zeros((seen.inputs.shape[0], 0))
    if posted is None and settings.eta > 0:
        where = settings.keep_positions
        keep = _seen(problem, settings, tensors, problem.retain, module, where).inputs
    free = None if posted is not None else _free(settings, wanted, seen.inputs, keep)
    scale = problem.parameters.lora.alpha / problem.parameters.lora.rank
    if free is not None and _moves_a(problem, settings):
        new = _within_rank(old, free, scale)
    else:
        moment = (old.a @ keep) @ (old.a @ keep).T
        if posted is not None:
            moment = np.asarray(posted.tensors[module] * posted.count)
        new = _within_a(settings, old, wanted, seen.inputs, moment, scale)
    made = scale_by(difference(new, old), scale)
    return Edit(
        new,
        left=_left(wanted, made, seen.inputs),
        left_unconstrained=None if free is None else _left(wanted, free, seen.inputs),
        error=None if free is None else relative_error(free, made),
        forget_tokens=seen.inputs.shape[1],
        keep_tokens=posted.count if posted is not None else keep.shape[1],
    )


def _moves_a(problem: Problem, settings: RedirectSettings) -> bool:
    return problem.parameters.lora.train_a and not settings.fixed_a and not settings.posted


def _free(settings: RedirectSettings, wanted: Matrix, inputs: Matrix, keep: Matrix) -> Factors:
    energy = float(np.sum(inputs**2) + settings.eta * np.sum(keep**2))
    mu = settings.ridge * energy / inputs.shape[0]
    return ridge_edit(wanted, inputs, keep, eta=settings.eta, mu=mu)


def _within_rank(old: Factors, free: Factors, scale: float) -> Factors:
    """The block's product with the whole edit added, cut to the block's rank."""
    rank = old.rank
    cut, _ = compress(concatenate([old, scale_by(free, 1 / scale)]), rank)
    return align(cut, old)


def _within_a(
    settings: RedirectSettings,
    old: Factors,
    wanted: Matrix,
    inputs: Matrix,
    moment: Matrix,
    scale: float,
) -> Factors:
    features = old.a @ inputs
    energy = float(np.sum(features**2) + settings.eta * np.trace(moment))
    mu = settings.ridge * energy / old.rank
    change = ridge_edit_within(wanted, features, moment, eta=settings.eta, mu=mu)
    return Factors(old.b + change / scale, old.a)


def _left(wanted: Matrix, edit: Factors, inputs: Matrix) -> float:
    size = float(np.linalg.norm(wanted))
    gap = float(np.linalg.norm(wanted - edit.b @ (edit.a @ inputs)))
    return gap / size if size else 0.0


def _seen(
    problem: Problem,
    settings: RedirectSettings,
    tensors: dict[str, NDArray[np.float32]] | None,
    texts: Sequence[Example] | Sequence[str],
    module: str,
    positions: Positions | None = None,
) -> Activations:
    from rescind.unlearning.closed_form.measure import activations

    return activations(
        problem.model,
        tensors,
        texts,
        module,
        module.removesuffix(f".{settings.projection}"),
        max_length=problem.parameters.training.max_length,
        positions=positions or settings.positions,
    )


def _wanted(
    problem: Problem,
    settings: RedirectSettings,
    tensors: dict[str, NDArray[np.float32]],
    module: str,
    seen: Activations,
) -> Matrix:
    """Z - W K_f, (out, n): by how much the outputs on the forget tokens are to move."""
    if settings.target == "base":
        bare = _seen(problem, settings, None, problem.forget, module)
        return np.multiply(settings.c, bare.outputs - seen.outputs)
    refused = _refused(problem, settings, tensors, module)
    if settings.target == "activation":
        mean: Matrix = refused.outputs.mean(axis=1, keepdims=True)
        return np.multiply(settings.c, mean - seen.outputs)
    asked = _seen(problem, settings, tensors, _questions(problem), module, "last-prompt")
    direction = refused.states.mean(axis=1) - asked.states.mean(axis=1)
    return np.outer(settings.c * direction, np.ones(seen.inputs.shape[1]))


def _refused(
    problem: Problem,
    settings: RedirectSettings,
    tensors: dict[str, NDArray[np.float32]],
    module: str,
) -> Activations:
    if settings.refusals:
        return _seen(problem, settings, tensors, settings.refusals, module, "last-prompt")
    return _seen(problem, settings, None, _questions(problem), module, "last-prompt")


def _questions(problem: Problem) -> list[str]:
    return [example.question for example in problem.forget]


def _layers(
    problem: Problem, settings: RedirectSettings, names: Sequence[str]
) -> tuple[list[int], dict[int, float]]:
    """The layers to edit, and how far apart forget and refused questions are in those looked at:
    1 - cosine of their mean outputs."""
    if settings.layers is not None:
        odd = [layer for layer in settings.layers if not 0 <= layer < len(names)]
        if odd:
            raise ConfigError(f"layer {odd[0]} is not there: layers are 0 to {len(names) - 1}")
        return sorted(set(settings.layers)), {}
    start = {name: value.astype(np.float32) for name, value in problem.start.items()}
    found = {}
    for layer, module in enumerate(names):
        asked = _seen(problem, settings, start, _questions(problem), module, "last-prompt")
        one = asked.outputs.mean(axis=1)
        other = _refused(problem, settings, start, module).outputs.mean(axis=1)
        size = float(np.linalg.norm(one) * np.linalg.norm(other))
        found[layer] = 1.0 - float(one @ other) / size if size else 0.0
    return [max(found, key=lambda layer: found[layer])], found


def _report(
    settings: RedirectSettings,
    layers: Sequence[int],
    separation: dict[int, float],
    edits: dict[str, Edit],
    changes_a: bool,
) -> dict[str, Any]:
    return {
        "target": settings.target,
        "c": settings.c,
        "eta": settings.eta,
        "ridge": settings.ridge,
        "positions": settings.positions,
        "keep_positions": settings.keep_positions,
        "refusals": len(settings.refusals),
        "changes_a": changes_a,
        "posted": sorted(part.id for part in settings.posted),
        "layers": list(layers),
        "separation": separation,
        "modules": {
            module: {
                "left": edit.left,
                "left_unconstrained": edit.left_unconstrained,
                "relative_error": edit.error,
                "forget_tokens": edit.forget_tokens,
                "keep_tokens": edit.keep_tokens,
            }
            for module, edit in edits.items()
        },
    }
