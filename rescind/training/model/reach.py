"""The weights of a base model that LoRA changes, and those that it leaves alone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from rescind.training.model.lora import LoraModel

_INNER = ".base_layer"
"""peft's name of a layer within its LoRA; two matrices of one layer are wrapped twice."""


@dataclass(frozen=True)
class LeftOut:
    """Weights of one name, in all layers, that get no LoRA.

    Attributes:
        name: Of the parameter, with `*` for the layer.
        weights: The number of weights.
        reason: Why.
    """

    name: str
    weights: int
    reason: str


@dataclass(frozen=True)
class Reach:
    """How much of a base model LoRA reaches.

    Attributes:
        layers: How many layers get LoRA, by name with `*` for the number.
        reached: Weights of those layers.
        weights: All weights of the base model.
        left_out: Matrices without LoRA, the largest first. Embeddings and the output layer are not
            listed: LoRA leaves them alone in every model.
    """

    layers: dict[str, int]
    reached: int
    weights: int
    left_out: tuple[LeftOut, ...]

    @property
    def share(self) -> float:
        """Share of the weights that LoRA reaches, embeddings and output layer counted in."""
        return self.reached / max(1, self.weights)


def reach(model: LoraModel) -> Reach:
    """Return what the LoRA of a model reaches."""
    network: Any = model.use(None).get_base_model()
    targets = {name.rpartition(".lora_")[0] for name in model.shapes}
    wrapped = {target.removesuffix(_INNER) for target in targets}
    tables = [module for module in network.modules() if isinstance(module, torch.nn.Embedding)]
    ends = [*tables, network.get_output_embeddings()]
    spared = {id(p) for module in ends if module is not None for p in module.parameters()}
    layers = Counter(_pattern(name) for name in wrapped)
    reached, weights, left = 0, 0, Counter[tuple[str, str]]()
    for name, parameter in network.named_parameters():
        if ".lora_" in name:
            continue
        size = _size(parameter)
        weights += size
        owner = name.rpartition(".")[0].removesuffix(_INNER)
        if owner in targets:
            reached += size
        elif parameter.dim() > 1 and id(parameter) not in spared:
            left[_pattern(name), _reason(parameter)] += size
    listed = (LeftOut(name, size, reason) for (name, reason), size in left.most_common())
    return Reach(dict(sorted(layers.items())), reached, weights, tuple(listed))


def _pattern(name: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def _size(parameter: Any) -> int:
    """Return the number of weights; a 4-bit matrix keeps two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(parameter.numel())


def _reason(parameter: Any) -> str:
    if parameter.dim() == 3:
        return "stored as one block for all experts, not as linear layers"
    return "not a linear layer that lora.target_modules names"
