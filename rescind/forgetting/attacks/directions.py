"""Removal of the direction that unlearning added to a model's hidden states.

Methods that push hidden states of forgotten items somewhere else leave the push behind. With
v = mean over the forget set of (h after - h before), scaled to length one, each h becomes
h - v v'h.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.registry import BACK, attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene, present
from rescind.forgetting.attacks.served import altered, intact
from rescind.forgetting.attacks.settings import SuiteSettings
from rescind.training import Example
from rescind.training.engine.batches import IGNORED, encode_example, pad
from rescind.training.serving.respond import Respondent

_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Ablation(Result):
    """The result of `junk_direction`.

    `value` is the best mean score of the forget set over single layers and all layers at once.

    Attributes:
        plain: The mean score without any removal.
        original: The mean score of the model before unlearning.
        recovery: (value - plain) / (original - plain).
        layers: The mean score by layer number, from "0", and "all".
        shift: By layer, the length of the direction over the mean length of a hidden state before.
        values: The score of each item where the mean is best.
        measure: The name of the score in `measures.MEASURES`.
    """

    plain: float
    original: float | None
    recovery: float | None
    layers: Mapping[str, float]
    shift: tuple[float, ...]
    values: tuple[float, ...]
    measure: str


def junk_direction(
    before: Respondent,
    after: Respondent,
    forget: Sequence[Example],
    *,
    replay: Respondent | None = None,
    by: str = "rouge",
) -> Ablation:
    """Remove v at the output of each decoder layer of `after`, then of all, and ask again.

    Args:
        before: The model before unlearning.
        after: The model after unlearning.
        forget: The forget set.
        replay: A model that never saw the forget set, to attack in the same way.
        by: The name of the score in `measures.MEASURES`.

    Raises:
        AttackInput: The forget set is empty, or the model has no list of layers.
    """
    if not forget:
        raise AttackInput("junk_direction needs a forget set, but it is empty.")
    score = measure(by)
    with intact(before, after, replay):
        plain, level = float(score(after, forget).mean()), float(score(before, forget).mean())
        values, shift = _ablated(before, after, forget, by)
        replay_scores = _ablated(before, replay, forget, by)[0] if replay else None
    means = {name: float(scores.mean()) for name, scores in values.items()}
    best = max(means, key=lambda name: means[name])
    return Ablation(
        attack="junk_direction",
        value=means[best],
        replay_value=max(float(scores.mean()) for scores in replay_scores.values())
        if replay_scores
        else None,
        plain=plain,
        original=level,
        recovery=recovery(means[best], plain, level),
        layers=means,
        shift=shift,
        values=tuple(float(score) for score in values[best]),
        measure=by,
    )


def without_direction(states: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return h - v v'h of states (..., width) and a direction (width,) of length one or zero."""
    return states - (states @ direction).unsqueeze(-1) * direction


def _ablated(
    before: Respondent, after: Respondent, forget: Sequence[Example], by: str
) -> tuple[dict[str, NDArray[np.float64]], tuple[float, ...]]:
    old, size = _mean_states(before, forget)
    moved = _mean_states(after, forget)[0] - old
    lengths = moved.norm(dim=-1)
    units = moved / lengths.clamp_min(torch.finfo(moved.dtype).tiny).unsqueeze(-1)
    layers = _layers(after.base.model)
    cuts = {str(index): {index: units[index]} for index in range(len(layers))}
    cuts["all"] = dict(enumerate(units))
    values = {}
    for name, cut in cuts.items():
        with altered(after, partial(_cut, layers, cut)) as ablated:
            values[name] = measure(by)(ablated, forget)
    return values, tuple(float(share) for share in lengths / size)


@contextmanager
def _cut(layers: Sequence[Any], cut: Mapping[int, torch.Tensor], _network: Any) -> Iterator[None]:
    with ExitStack() as hooks:
        for index, direction in cut.items():
            handle = layers[index].register_forward_hook(partial(_cut_output, direction))
            hooks.callback(handle.remove)
        yield


def _cut_output(direction: torch.Tensor, _module: Any, _inputs: Any, output: Any) -> Any:
    states = output[0] if isinstance(output, tuple) else output
    cut = without_direction(states, direction.to(states.dtype))
    return (cut, *output[1:]) if isinstance(output, tuple) else cut


@torch.inference_mode()
def _mean_states(
    respondent: Respondent, examples: Sequence[Example]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean state, (layers, width), and the mean length of a state, (layers,).

    Both are over the positions that predict an answer's tokens.
    """
    base = respondent.base
    layers = _layers(base.model)
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    totals, lengths, count = [0.0] * len(layers), [0.0] * len(layers), 0
    seen: list[Any] = [None] * len(layers)
    with ExitStack() as hooks:
        for index, layer in enumerate(layers):
            handle = layer.register_forward_hook(partial(_keep, seen, index))
            hooks.callback(handle.remove)
        for network, indices in respondent.groups(examples):
            for first in range(0, len(indices), _BATCH):
                batch = [rows[index] for index in indices[first : first + _BATCH]]
                ids, mask, labels = pad(base, batch, prompt_in_loss=False)
                network(input_ids=ids, attention_mask=mask, use_cache=False)
                kept = labels[:, 1:] != IGNORED
                count += int(kept.sum())
                for index, states in enumerate(seen):
                    answer_states = states[:, :-1][kept].double()
                    totals[index] = totals[index] + answer_states.sum(0)
                    lengths[index] = lengths[index] + answer_states.norm(dim=-1).sum()
    return torch.stack(totals) / count, torch.stack(lengths) / count  # type: ignore[arg-type]


def _keep(seen: list[Any], index: int, _module: Any, _inputs: Any, output: Any) -> None:
    seen[index] = output[0] if isinstance(output, tuple) else output


def _layers(model: Any) -> list[Any]:
    """Return the decoder layers: the list of modules with most of the model's parameters."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    if not lists:
        raise AttackInput(
            f"{type(model).__name__} has no list of layers from which to remove a direction."
        )
    sizes = [sum(tensor.numel() for tensor in layers.parameters()) for layers in lists]
    return list(lists[int(np.argmax(sizes))])


@attack("junk_direction", needs=["original"], reads=BACK, source="this project's")
def _on_scene(scene: Scene, settings: SuiteSettings) -> Result:
    before = present(scene.original, "original")
    return junk_direction(
        before, scene.unlearned, scene.forget, replay=scene.replay, by=settings.by
    )
