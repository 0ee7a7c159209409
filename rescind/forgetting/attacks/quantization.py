"""Rounding a model's weights to few bits, and the knowledge that it brings back (arXiv 2410.16454).

A small change of the weights can be lost in rounding, and with it what it made the model forget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft.tuners.lora import LoraLayer
from transformers.pytorch_utils import Conv1D

from rescind.core import FloatTensors
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.registry import BACK, attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene
from rescind.forgetting.attacks.served import altered, intact, loaded
from rescind.forgetting.attacks.settings import SCHEMES, Scheme, SuiteSettings
from rescind.training import Example, LoraModel
from rescind.training.serving.respond import Respondent


@dataclass(frozen=True, kw_only=True)
class Quantization(Result):
    """`value`: best mean score on the forget set over the schemes.

    `forget`, `retain`: mean scores by scheme; a low one on the retain set says that the rounding
    broke the model. `plain`, `plain_retain`: without rounding. `recovery`: by scheme, (m_rounded -
    m_unlearned) / (m_original - m_unlearned). `values`: of each item by scheme.
    """

    plain: float
    forget: Mapping[str, float]
    recovery: Mapping[str, float | None]
    plain_retain: float | None
    retain: Mapping[str, float]
    original: float | None
    values: Mapping[str, tuple[float, ...]]
    measure: str


def round_to_nearest(weight: torch.Tensor, bits: int, axis: int | None = None) -> torch.Tensor:
    """D round(w / D), D = max|w| / (2^(bits-1) - 1) over the matrix, or over each index of `axis`.

    No weight moves by more than D / 2.
    """
    step = _step(weight, bits, axis)
    return torch.where(step > 0, torch.round(weight / step) * step, weight)


@contextmanager
def rounded(respondent: Respondent, scheme: Scheme) -> Iterator[Respondent]:
    """The respondent with every linear layer but the output embedding rounded.

    Each question goes to the network that it goes to without rounding. The weights are put back bit
    for bit.
    """
    with altered(respondent, partial(_rounded_network, respondent.base.model, scheme)) as one:
        yield one


def quantization(
    unlearned: Respondent,
    forget: Sequence[Example],
    *,
    retain: Sequence[Example] = (),
    original: Respondent | None = None,
    replay: Respondent | None = None,
    by: str = "rouge",
    schemes: Sequence[Scheme] = SCHEMES,
) -> Quantization:
    """Scores of `unlearned` under each scheme, by the measure named `by`.

    Raises AttackInput for an empty forget set or no scheme.
    """
    if not forget or not schemes:
        raise AttackInput("quantization needs a forget set and at least one scheme: one is empty")
    score = measure(by)
    with intact(unlearned, original, replay):
        plain = float(score(unlearned, forget).mean())
        level = float(score(original, forget).mean()) if original else None
        values = _scores(unlearned, forget, by, schemes)
        of_retain = _scores(unlearned, retain, by, schemes) if retain else {}
        again = _scores(replay, forget, by, schemes) if replay else None
        means = {name: float(one.mean()) for name, one in values.items()}
        return Quantization(
            attack="quantization",
            value=max(means.values()),
            replay_value=max(float(v.mean()) for v in again.values()) if again else None,
            plain=plain,
            forget=means,
            recovery={name: recovery(one, plain, level) for name, one in means.items()},
            plain_retain=float(score(unlearned, retain).mean()) if retain else None,
            retain={name: float(one.mean()) for name, one in of_retain.items()},
            original=level,
            values={name: tuple(float(v) for v in one) for name, one in values.items()},
            measure=by,
        )


def lost_in_rounding(
    model: LoraModel,
    before: FloatTensors,
    after: FloatTensors,
    scheme: Scheme,
    *,
    max_length: int,
) -> float:
    """Share of the merged weights that `after` changed and that round to the same as `before`.

    1: rounding undoes the change altogether. Raises AttackInput when no merged weight changed.
    """
    old, old_rounded = _merged(model, before, scheme, max_length)
    new, new_rounded = _merged(model, after, scheme, max_length)
    changed = same = 0
    for place in range(len(old)):
        moved = old[place] != new[place]
        changed += int(moved.sum())
        same += int((moved & (old_rounded[place] == new_rounded[place])).sum())
    if not changed:
        raise AttackInput("before and after are the same weights: nothing can be lost in rounding")
    return same / changed


@torch.no_grad()
def _merged(
    model: LoraModel, tensors: FloatTensors, scheme: Scheme, max_length: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Of the adapted matrices: base and adapter together, and the same rounded."""
    with loaded(model, tensors, max_length=max_length) as served:
        model.use(served.adapter)
        adapted = [one for one in _matrices(model.base.model) if one.adapted]
        whole = [one.weight + _adapter_part(one.layer) for one in adapted]
    return whole, [one.rounded(scheme, w) for one, w in zip(adapted, whole, strict=True)]


def _scores(
    respondent: Respondent, examples: Sequence[Example], by: str, schemes: Sequence[Scheme]
) -> dict[str, NDArray[np.float64]]:
    found = {}
    for scheme in schemes:
        with rounded(respondent, scheme) as one:
            found[scheme.name] = measure(by)(one, examples)
    return found


def _step(weight: torch.Tensor, bits: int, axis: int | None) -> torch.Tensor:
    others = [dim for dim in range(weight.dim()) if dim != axis]
    largest: torch.Tensor = weight.abs().amax(dim=others, keepdim=True)
    return largest.div(2 ** (bits - 1) - 1)


@contextmanager
def _rounded_network(base_model: Any, scheme: Scheme, _network: Any) -> Iterator[None]:
    matrices = _matrices(base_model)
    saved = [(one.weight, one.weight.detach().clone()) for one in matrices]
    merged = [one for one in matrices if scheme.merged and one.adapted]
    try:
        with torch.no_grad():
            for one in merged:
                one.weight.add_(_adapter_part(one.layer))
            for one in matrices:
                one.weight.copy_(one.rounded(scheme, one.weight))
        for one in merged:
            one.layer.enable_adapters(False)
        yield
    finally:
        for one in merged:
            one.layer.enable_adapters(True)
        with torch.no_grad():
            for weight, value in saved:
                weight.copy_(value)


@dataclass(frozen=True)
class _Matrix:
    """`axis`: of the outputs. `adapted`: whether an adapter is in use on it."""

    layer: Any
    weight: torch.nn.Parameter
    axis: int
    adapted: bool

    def rounded(self, scheme: Scheme, weight: torch.Tensor) -> torch.Tensor:
        return round_to_nearest(weight, scheme.bits, self.axis if scheme.per_channel else None)


def _matrices(base_model: Any) -> list[_Matrix]:
    head = base_model.get_output_embeddings()
    modules: list[tuple[str, Any]] = [
        (name, m) for name, m in base_model.named_modules() if ".lora_" not in name
    ]
    found = []
    for _, layer in modules:
        if isinstance(layer, LoraLayer):
            inner: Any = layer.get_base_layer()
            adapted = not layer.disable_adapters and any(True for _ in _in_use(layer))
            if adapted and head is not None and inner.weight is head.weight:
                raise AttackInput(
                    "an adapter on tied embeddings cannot be merged: attack with an adapter that "
                    "leaves the embeddings alone"
                )
            found.append(_Matrix(layer, inner.weight, _output_axis(inner), adapted))
    covered = {id(one.weight) for one in found} | ({id(head.weight)} if head is not None else set())
    plain: list[Any] = [m for _, m in modules if isinstance(m, torch.nn.Linear | Conv1D)]
    return found + [
        _Matrix(module, module.weight, _output_axis(module), False)
        for module in plain
        if id(module.weight) not in covered
    ]


def _output_axis(module: Any) -> int:
    return 1 if isinstance(module, Conv1D) else 0


def _in_use(layer: Any) -> Iterator[str]:
    """Names of the adapters in use that the layer has."""
    for name in layer.active_adapters:
        if name in layer.lora_A or name in layer.lora_embedding_A:
            yield name


def _adapter_part(layer: Any) -> torch.Tensor:
    """s B A of the adapters in use, in the shape of the weight."""
    parts = [layer.get_delta_weight(name) for name in _in_use(layer)]
    return torch.stack(parts).sum(0)


@attack("quantization", reads=BACK, source="arXiv 2410.16454")
def _on_scene(scene: Scene, settings: SuiteSettings) -> Result:
    return quantization(
        scene.unlearned,
        scene.forget,
        retain=scene.retain,
        original=scene.original,
        replay=scene.replay,
        by=settings.by,
        schemes=settings.schemes,
    )
