"""Selection of a block's tensors by their module and layer in the base model."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from rescind.core.errors import ConfigError

FEED_FORWARD: tuple[str, ...] = (
    "gate_proj",
    "up_proj",
    "down_proj",
    "c_fc",
    "mlp.c_proj",
    "fc1",
    "fc2",
    "dense_h_to_4h",
    "dense_4h_to_h",
)
"""Modules of the feed-forward blocks of Llama, GPT-2, OPT, Phi and GPT-NeoX."""

FEED_FORWARD_OUT: tuple[str, ...] = ("down_proj", "mlp.c_proj", "fc2", "dense_4h_to_h")

_LAYER = re.compile(r"\.(\d+)\.")


def layer_of(name: str) -> int | None:
    """Return the number of a tensor's decoder layer, None outside all layers."""
    match = _LAYER.search(name)
    return int(match.group(1)) if match else None


def chosen(
    names: Iterable[str], modules: Sequence[str], layers: Collection[int] | None = None
) -> list[str]:
    """Return the LoRA tensors of modules whose name ends in one of `modules`, in `layers` if given.

    Raises:
        ConfigError: There are none.
    """
    every = list(names)
    selected = [
        name
        for name in every
        if name.rpartition(".lora_")[0].endswith(tuple(f".{module}" for module in modules))
        and (layers is None or layer_of(name) in layers)
    ]
    if not selected:
        trained = sorted({name.rpartition(".lora_")[0].rpartition(".")[2] for name in every})
        where = "" if layers is None else f" in layers {sorted(layers)}"
        raise ConfigError(
            f"No trainable LoRA tensor belongs to {', '.join(modules)}{where}. "
            f"This consortium trains {', '.join(trained)}. Set modules to some of them."
        )
    return selected
