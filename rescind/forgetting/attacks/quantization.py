"""Knowledge that comes back when a model's weights are rounded to few bits (arXiv 2410.16454).

Rounding can undo a small change of the weights, and with it the forgetting that it caused.
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
    """The result of `quantization`.

    `value` is the best mean score on the forget set over the schemes.

    Attributes:
        plain: The mean score on the forget set without rounding.
        forget: The mean score on the forget set, by scheme.
        recovery: (m_rounded - m_unlearned) / (m_original - m_unlearned), by scheme.
        plain_retain: The mean score on the retain set without rounding.
        retain: The mean score on the retain set, by scheme. A low one says that the rounding broke
            the model.
        original: The mean score of the model before unlearning on the forget set.
        values: The score of each item of the forget set, by scheme.
        measure: The name of the score in `measures.MEASURES`.
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
    """Return D round(w / D) with D = max|w| / (2^(bits-1) - 1).

    No weight moves by more than D / 2.

    Args:
        weight: The weights.
        bits: The number of bits of a rounded weight.
        axis: The axis that has a D for each index; by default the whole matrix has one D.
    """
    step = _step(weight, bits, axis)
    return torch.where(step > 0, torch.round(weight / step) * step, weight)


@contextmanager
def rounded(respondent: Respondent, scheme: Scheme) -> Iterator[Respondent]:
    """Yield the respondent with every linear layer but the output embedding rounded.

    Each question goes to the network to which it goes without rounding. The weights are put back
    bit for bit.
    """
    change = partial(_rounded_network, respondent.base.model, scheme)
    with altered(respondent, change) as rounded_respondent:
        yield rounded_respondent


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
    """Score the unlearned model under each rounding scheme.

    Args:
        unlearned: The unlearned model.
        forget: The forget set.
        retain: The retain set, which shows whether the rounding broke the model.
        original: The model before unlearning.
        replay: A model that never saw the forget set, to attack in the same way.
        by: The name of the score in `measures.MEASURES`.
        schemes: The rounding schemes.

    Raises:
        AttackInput: The forget set is empty, or there are no schemes.
    """
    if not forget or not schemes:
        raise AttackInput("quantization needs a forget set and at least one scheme. One is empty.")
    score = measure(by)
    with intact(unlearned, original, replay):
        plain = float(score(unlearned, forget).mean())
        level = float(score(original, forget).mean()) if original else None
        values = _scores(unlearned, forget, by, schemes)
        of_retain = _scores(unlearned, retain, by, schemes) if retain else {}
        replay_scores = _scores(replay, forget, by, schemes) if replay else None
        means = {name: float(scores.mean()) for name, scores in values.items()}
        return Quantization(
            attack="quantization",
            value=max(means.values()),
            replay_value=max(float(v.mean()) for v in replay_scores.values())
            if replay_scores
            else None,
            plain=plain,
            forget=means,
            recovery={name: recovery(mean, plain, level) for name, mean in means.items()},
            plain_retain=float(score(unlearned, retain).mean()) if retain else None,
            retain={name: float(scores.mean()) for name, scores in of_retain.items()},
            original=level,
            values={name: tuple(float(v) for v in scores) for name, scores in values.items()},
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
    """Return the share of changed merged weights that rounding makes equal again.

    1 means that rounding undoes the change completely.

    Args:
        model: The model of the block.
        before: The block's tensors before unlearning, by bare name.
        after: The block's tensors after unlearning.
        scheme: The rounding scheme.
        max_length: The most tokens of an example.

    Raises:
        AttackInput: No merged weight changed.
    """
    old, old_rounded = _merged(model, before, scheme, max_length)
    new, new_rounded = _merged(model, after, scheme, max_length)
    changed = same = 0
    for index in range(len(old)):
        moved = old[index] != new[index]
        changed += int(moved.sum())
        same += int((moved & (old_rounded[index] == new_rounded[index])).sum())
    if not changed:
        raise AttackInput(
            "before and after are the same weights, so rounding cannot undo a change. Pass the "
            "weights of two different states."
        )
    return same / changed


@torch.no_grad()
def _merged(
    model: LoraModel, tensors: FloatTensors, scheme: Scheme, max_length: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the adapted matrices with base and adapter merged, and the same rounded."""
    with loaded(model, tensors, max_length=max_length) as served:
        model.use(served.adapter)
        adapted = [matrix for matrix in _matrices(model.base.model) if matrix.adapted]
        whole = [matrix.weight + _adapter_part(matrix.layer) for matrix in adapted]
    return whole, [matrix.rounded(scheme, w) for matrix, w in zip(adapted, whole, strict=True)]


def _scores(
    respondent: Respondent, examples: Sequence[Example], by: str, schemes: Sequence[Scheme]
) -> dict[str, NDArray[np.float64]]:
    scores = {}
    for scheme in schemes:
        with rounded(respondent, scheme) as rounded_respondent:
            scores[scheme.name] = measure(by)(rounded_respondent, examples)
    return scores


def _step(weight: torch.Tensor, bits: int, axis: int | None) -> torch.Tensor:
    others = [dim for dim in range(weight.dim()) if dim != axis]
    largest: torch.Tensor = weight.abs().amax(dim=others, keepdim=True)
    return largest.div(2 ** (bits - 1) - 1)


@contextmanager
def _rounded_network(base_model: Any, scheme: Scheme, _network: Any) -> Iterator[None]:
    matrices = _matrices(base_model)
    saved = [(matrix.weight, matrix.weight.detach().clone()) for matrix in matrices]
    merged = [matrix for matrix in matrices if scheme.merged and matrix.adapted]
    try:
        with torch.no_grad():
            for matrix in merged:
                matrix.weight.add_(_adapter_part(matrix.layer))
            for matrix in matrices:
                matrix.weight.copy_(matrix.rounded(scheme, matrix.weight))
        for matrix in merged:
            # The adapter is in the weight now; it must not be added a second time.
            matrix.layer.enable_adapters(False)
        yield
    finally:
        for matrix in merged:
            matrix.layer.enable_adapters(True)
        with torch.no_grad():
            for weight, value in saved:
                weight.copy_(value)


@dataclass(frozen=True)
class _Matrix:
    """A weight matrix: `axis` is that of the outputs, `adapted` whether an adapter is in use."""

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
    matrices = []
    for _, layer in modules:
        if isinstance(layer, LoraLayer):
            inner: Any = layer.get_base_layer()
            adapted = not layer.disable_adapters and any(True for _ in _in_use(layer))
            if adapted and head is not None and inner.weight is head.weight:
                raise AttackInput(
                    "An adapter on tied embeddings cannot be merged. Attack an adapter that does "
                    "not change the embeddings."
                )
            matrices.append(_Matrix(layer, inner.weight, _output_axis(inner), adapted))
    covered = {id(matrix.weight) for matrix in matrices}
    if head is not None:
        covered.add(id(head.weight))
    plain: list[Any] = [m for _, m in modules if isinstance(m, torch.nn.Linear | Conv1D)]
    return matrices + [
        _Matrix(module, module.weight, _output_axis(module), False)
        for module in plain
        if id(module.weight) not in covered
    ]


def _output_axis(module: Any) -> int:
    return 1 if isinstance(module, Conv1D) else 0


def _in_use(layer: Any) -> Iterator[str]:
    """Yield the names of the adapters in use that the layer has."""
    for name in layer.active_adapters:
        if name in layer.lora_A or name in layer.lora_embedding_A:
            yield name


def _adapter_part(layer: Any) -> torch.Tensor:
    """Return s B A of the adapters in use, in the shape of the weight."""
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
