"""Which tensors of a block a method may change, by where they sit in the base model."""

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
    """Number of the decoder layer that a tensor is in, None outside of them."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


def chosen(
    names: Iterable[str], modules: Sequence[str], layers: Collection[int] | None = None
) -> list[str]:
    """The LoRA tensors of modules whose name ends as one of `modules`, in `layers` if given.

    Raises ConfigError when there are none.
    """
    every = list(names)
    found = [
        name
        for name in every
        if name.rpartition(".lora_")[0].endswith(tuple(f".{module}" for module in modules))
        and (layers is None or layer_of(name) in layers)
    ]
    if not found:
        there = sorted({name.rpartition(".lora_")[0].rpartition(".")[2] for name in every})
        where = "" if layers is None else f" in layers {sorted(layers)}"
        raise ConfigError(
            f"no trainable LoRA tensor belongs to {', '.join(modules)}{where}: "
            f"this consortium trains {', '.join(there)}; set modules to some of them"
        )
    return found
