"""Redirection of an MLP's outputs on the forget set, by ridge regression of its output projection.

The function family of LUNAR (arXiv 2502.07218) and STAMP (arXiv 2604.12820), solved as least
squares; the equations are ours (module `ridge`). Inputs K_f of the projection on forget tokens get
new outputs Z, its inputs on retain tokens keep theirs. The registered delta has the block's shapes.
Where A is trained, it is the block's product with the whole edit added, cut to the block's rank;
where A is frozen, the best change of B alone, Delta = s dB A. The report has the distance from the
unconstrained solution.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.core.positions import Positions, check_positions
from rescind.core.posted import Posted
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
from rescind.unlearning.problem import Outcome, Problem
from rescind.unlearning.registry import register

if TYPE_CHECKING:
    from rescind.training import Example
    from rescind.unlearning.closed_form.measure import Activations

Target = Literal["direction", "activation", "base"]
_TARGETS: tuple[Target, ...] = ("direction", "activation", "base")


@dataclass(frozen=True)
class RedirectSettings:
    """Settings of redirection.

    Attributes:
        target: The new outputs. "direction" (LUNAR): h + c r, where r goes from the forget
            questions' mean state after the layer to that of the refused questions. "activation"
            (STAMP): h + c (a - h), where a is the mean output on refused questions. "base": h + c
            (h0 - h), where h0 is the bare base's output at that token.
        c: See `target`.
        eta: The weight of a token to keep against one to forget.
        ridge: mu in units of the mean eigenvalue of the matrix that it is added to.
        layers: Decoder layers from 0, edited in rising order. None for the one where forget and
            refused questions differ most.
        positions: The tokens to forget on.
        keep_positions: The tokens to keep.
        refusals: Questions that the model refuses. Without any, the forget questions under the bare
            base, which never learned them.
        projection: The suffix of the output projection's name.
        fixed_a: Change B alone even where A is trained.
        posted: Moments of the data to keep, at `keep_positions`. They are of A x and so only allow
            a change of B. Without any, the retain set is measured.
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
            raise ConfigError(f"target is {self.target!r}. Use one of {', '.join(_TARGETS)}.")
        if not (np.isfinite(self.c) and self.c != 0):
            raise ConfigError(f"c is {self.c}. It must be finite and not 0.")
        if not (np.isfinite(self.eta) and self.eta >= 0):
            raise ConfigError(f"eta is {self.eta}. It must be 0 or more.")
        if not (np.isfinite(self.ridge) and self.ridge > 0):
            raise ConfigError(f"ridge is {self.ridge}. It must be above 0.")
        if self.layers is not None and not self.layers:
            raise ConfigError("layers is empty. Name at least one, or None to have one chosen.")
        check_positions(self.positions)
        check_positions(self.keep_positions)


@dataclass(frozen=True, eq=False)
class Edit:
    """The edit of one layer.

    Attributes:
        after: The factors afterwards.
        left: The share of the wanted change of outputs on the forget tokens that was not reached.
        left_unconstrained: The same for the unconstrained solution.
        error: The relative distance of the two solutions, None without retain inputs.
        forget_tokens: Tokens to forget.
        keep_tokens: Tokens to keep.
    """

    after: Factors
    left: float
    left_unconstrained: float | None
    error: float | None
    forget_tokens: int
    keep_tokens: int


def projections(problem: Problem, suffix: str) -> list[str]:
    """Return the modules that end in `suffix`, by layer.

    Raises:
        ConfigError: LoRA changes none.
    """
    ending = f".{suffix}.lora_A"
    names = [n.removesuffix(".lora_A") for n in problem.model.shapes if n.endswith(ending)]
    if not names:
        raise ConfigError(
            f"No module with LoRA ends in {suffix!r}. Set projection to the name of the MLP's "
            "output projection."
        )
    return sorted(names, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


@register(
    RedirectSettings,
    source="arXiv 2502.07218, arXiv 2604.12820",
    needs_retain=True,
    trains=False,
)
def redirect(problem: Problem, settings: RedirectSettings) -> Outcome:
    """Redirect the forget set's outputs.

    Raises:
        DataError: There is no data to keep, and eta is not 0.
        ConfigError: There is no such layer or projection.
        PostedMismatch: Posted moments are of another block or A.
        TrainingError: The result is not finite.
    """
    names = projections(problem, settings.projection)
    layers, separation = _layers(problem, settings, names)
    keep = None
    if settings.posted:
        keep = keep_moments(problem, settings.posted, settings.keep_positions)
    elif settings.eta > 0 and not problem.retain:
        raise DataError(
            "There is nothing to keep. Give a retain set or posted moments, or set eta to 0."
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
        raise TrainingError("The redirected projection is not finite. Raise ridge or lower c.")
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
    edit = scale_by(difference(new, old), scale)
    return Edit(
        new,
        left=_left(wanted, edit, seen.inputs),
        left_unconstrained=None if free is None else _left(wanted, free, seen.inputs),
        error=None if free is None else relative_error(free, edit),
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
    """Add the whole edit to the block's product, and cut it to the block's rank."""
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
    """Return Z - W K_f, (out, n): the wanted change of the outputs on the forget tokens."""
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
    """Choose the layers to edit.

    Also return how far apart forget and refused questions are in each measured layer: 1 - cosine of
    their mean outputs.
    """
    if settings.layers is not None:
        unknown = [layer for layer in settings.layers if not 0 <= layer < len(names)]
        if unknown:
            raise ConfigError(
                f"There is no layer {unknown[0]}. Choose from the layers 0 to {len(names) - 1}."
            )
        return sorted(set(settings.layers)), {}
    start = {name: value.astype(np.float32) for name, value in problem.start.items()}
    distances = {}
    for layer, module in enumerate(names):
        asked = _seen(problem, settings, start, _questions(problem), module, "last-prompt")
        forget = asked.outputs.mean(axis=1)
        refused = _refused(problem, settings, start, module).outputs.mean(axis=1)
        size = float(np.linalg.norm(forget) * np.linalg.norm(refused))
        distances[layer] = 1.0 - float(forget @ refused) / size if size else 0.0
    return [max(distances, key=lambda layer: distances[layer])], distances


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
