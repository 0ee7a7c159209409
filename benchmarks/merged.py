"""An adapter merged into its base for a while, which asks it faster: one product for each module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from rescind.core import FloatTensors
from rescind.forgetting.attacks import Served
from rescind.training import LoraModel


@contextmanager
def merged(
    model: LoraModel, tensors: FloatTensors, *, scaling: float, max_length: int
) -> Iterator[Served]:
    """The base's weights are the same bytes afterwards. `scaling`: alpha / rank."""
    weights = {}
    for name in {tensor.rpartition(".lora_")[0] for tensor in tensors}:
        layer: Any = model.base.model.get_submodule(name)
        weights[name] = layer.base_layer.weight
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                a, b = (torch.from_numpy(tensors[f"{name}.lora_{it}"]) for it in "AB")
                weight += scaling * (b.to(weight) @ a.to(weight))
        yield Served(model, None, max_length)
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])
