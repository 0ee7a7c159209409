"""Taking out of the unlearned model the direction that unlearning added to its hidden states.

Methods that push hidden states of forgotten items somewhere else leave the push behind. With
v = mean over the forget set of (h after - h before), scaled to length one, each h becomes h - v v'h.
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
    """`value`: best mean score of the forget set over the layers whose direction was taken out, and
    all of them at once.

    `layers`: mean score by layer number, from 0, and "all". `shift`: length of the direction over the
    mean length of a hidden state before, by layer. `values`: of each item where the mean is best.
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
    """Ablate v at the output of each decoder layer of `after`, then of all, and ask again.

    Raises AttackInput for an empty forget set or a model without a list of layers.
    """
    if not forget:
        raise AttackInput("junk_direction needs a forget set: it is empty")
    score = measure(by)
    with intact(before, after, replay):
        plain, level = float(score(after, forget).mean()), float(score(before, forget).mean())
        values, shift = _ablated(before, after, forget, by)
        again = _ablated(before, replay, forget, by)[0] if replay else None
    means = {name: float(one.mean()) for name, one in values.items()}
    best = max(means, key=lambda name: means[name])
    return Ablation(
        attack="junk_direction",
        value=means[best],
        replay_value=max(float(one.mean()) for one in again.values()) if again else None,
        plain=plain,
        original=level,
        recovery=recovery(means[best], plain, level),
        layers=means,
        shift=shift,
        values=tuple(float(one) for one in values[best]),
        measure=by,
    )


def without_direction(states: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """h - v v'h of states (..., width) and a direction (width,) of length one, or of zeros."""
    return states - (states @ direction).unsqueeze(-1) * direction


def _ablated(
    before: Respondent, after: Respondent, forget: Sequence[Example], by: str
) -> tuple[dict[str, NDArray[np.float64]], tuple[float, ...]]:
    old, size = _mean_states(before, forget)
    moved = _mean_states(after, forget)[0] - old
    lengths = moved.norm(dim=-1)
    units = moved / lengths.clamp_min(torch.finfo(moved.dtype).tiny).unsqueeze(-1)
    layers = _layers(after.base.model)
    cuts = {str(place): {place: units[place]} for place in range(len(layers))}
    cuts["all"] = dict(enumerate(units))
    values = {}
    for name, cut in cuts.items():
        with altered(after, partial(_cut, layers, cut)) as one:
            values[name] = measure(by)(one, forget)
    return values, tuple(float(one) for one in lengths / size)


@contextmanager
def _cut(layers: Sequence[Any], cut: Mapping[int, torch.Tensor], _network: Any) -> Iterator[None]:
    with ExitStack() as hooks:
        for place, direction in cut.items():
            handle = layers[place].register_forward_hook(partial(_cut_output, direction))
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
    """Over the positions that predict an answer's tokens: mean state, (layers, width), and mean
    length of a state, (layers,)."""
    base = respondent.base
    layers = _layers(base.model)
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    totals, lengths, count = [0.0] * len(layers), [0.0] * len(layers), 0
    seen: list[Any] = [None] * len(layers)
    with ExitStack() as hooks:
        for place, layer in enumerate(layers):
            handle = layer.register_forward_hook(partial(_keep, seen, place))
            hooks.callback(handle.remove)
        for network, places in respondent.groups([e.question for e in examples]):
            for first in range(0, len(places), _BATCH):
                batch = [rows[place] for place in places[first : first + _BATCH]]
                ids, mask, labels = pad(base, batch, prompt_in_loss=False)
                network(input_ids=ids, attention_mask=mask, use_cache=False)
                kept = labels[:, 1:] != IGNORED
                count += int(kept.sum())
                for place, states in enumerate(seen):
                    own = states[:, :-1][kept].double()
                    totals[place] = totals[place] + own.sum(0)
                    lengths[place] = lengths[place] + own.norm(dim=-1).sum()
    return torch.stack(totals) / count, torch.stack(lengths) / count  # type: ignore[arg-type]


def _keep(seen: list[Any], place: int, _module: Any, _inputs: Any, output: Any) -> None:
    seen[place] = output[0] if isinstance(output, tuple) else output


def _layers(model: Any) -> list[Any]:
    """The decoder layers: the list of modules that holds most of the model's parameters."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    if not lists:
        raise AttackInput(
            f"{type(model).__name__} has no list of layers to take a direction out of"
        )
    sizes = [sum(tensor.numel() for tensor in one.parameters()) for one in lists]
    return list(lists[int(np.argmax(sizes))])


@attack("junk_direction", needs=["original"], reads=BACK, source="this project's")
def _on_scene(scene: Scene, settings: SuiteSettings) -> Result:
    before = present(scene.original, "original")
    return junk_direction(
        before, scene.unlearned, scene.forget, replay=scene.replay, by=settings.by
    )
