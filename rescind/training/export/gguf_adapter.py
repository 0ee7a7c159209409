"""Export of a block as a GGUF adapter for llama.cpp.

llama.cpp renames the modules of a base model, and in some architectures reorders the rows of the
query and key projections, because its rotary embedding pairs neighbouring dimensions where that of
transformers pairs halves (`LlamaModel.permute` of its converter). An adapter must follow. Only
architectures whose converter does no more than that are written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import ConfigError, TrainingError
from rescind.training.export.card import Card, gguf_card
from rescind.training.export.folder import new_export
from rescind.training.export.origin import Origin
from rescind.training.export.source import Source
from rescind.training.model.files import read_config

KIND = "gguf"
FILE = "adapter.gguf"

_PLAIN = {
    "Gemma2ForCausalLM": "GEMMA2",
    "Gemma3ForCausalLM": "GEMMA3",
    "GemmaForCausalLM": "GEMMA",
    "GPT2LMHeadModel": "GPT2",
    "Olmo2ForCausalLM": "OLMO2",
    "Phi3ForCausalLM": "PHI3",
    "PhiForCausalLM": "PHI2",
    "Qwen2ForCausalLM": "QWEN2",
    "Qwen3ForCausalLM": "QWEN3",
    "Starcoder2ForCausalLM": "STARCODER2",
}
"""Architectures whose linear layers are renamed only, with their names in the gguf package."""
_PERMUTED = {
    "LlamaForCausalLM": "LLAMA",
    "MistralForCausalLM": "LLAMA",
    "OlmoForCausalLM": "OLMO",
    "SmolLM3ForCausalLM": "SMOLLM3",
}
"""Architectures in which the rows of q_proj and k_proj are reordered, too."""


@dataclass(frozen=True)
class _Layout:
    """How llama.cpp lays out an architecture.

    Attributes:
        architecture: Its name in GGUF files.
        names: Maps a module's name, None for an unknown one.
        heads: Query heads and key heads to reorder rows by, None where rows stay.
    """

    architecture: str
    names: Any
    heads: tuple[int, int] | None


def write_gguf(source: Source, origin: Origin, tensors: FloatTensors, out: Path) -> None:
    """Write LoRA tensors as a folder with a GGUF adapter. The same input gives the same bytes.

    Args:
        source: The base model and what the consortium agreed on.
        origin: The model that the tensors are from.
        tensors: By bare name, A (rank, in) and B (out, rank).
        out: The folder.

    Raises:
        ConfigError: The package gguf is not installed, or `out` may not be written.
        StoreFull: The disk is full.
        TrainingError: llama.cpp lays the base model out in a way that is not known here.
    """
    gguf = _package()
    layout = _layout(gguf, read_config(source.folder), source.folder)
    renamed = _renamed(layout, tensors)
    origin = source.complete(origin)

    def write_card(card: Card) -> str:
        return gguf_card(card, FILE)

    needed = sum(value.nbytes for value in renamed.values())
    with new_export(out, source.mark(origin, KIND), needed_bytes=needed) as folder:
        _write(gguf, folder / FILE, layout.architecture, renamed, source, origin)
        source.write_common(folder, origin, write_card)


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ConfigError(
            "A GGUF export needs the package gguf. Install it: pip install 'rescind[train]'"
        ) from error
    return gguf


def _layout(gguf: Any, config: Mapping[str, Any], folder: Path) -> _Layout:
    named = (config.get("architectures") or ["unknown"])[0]
    short = _PLAIN.get(named) or _PERMUTED.get(named)
    if short is None:
        known = ", ".join(sorted({**_PLAIN, **_PERMUTED}))
        raise TrainingError(
            f"The base model in {folder} is a {named}, and this export knows how llama.cpp lays "
            f"out {known} only. Export with --peft, and convert the folder with llama.cpp's "
            "convert_lora_to_gguf.py."
        )
    architecture = gguf.MODEL_ARCH[short]
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    if not isinstance(layers, int):
        raise TrainingError(f"{folder}/config.json does not say how many layers the model has.")
    table = gguf.get_tensor_name_map(architecture, layers)
    heads = None
    if named in _PERMUTED:
        query = int(config["num_attention_heads"])
        heads = (query, int(config.get("num_key_value_heads") or query))
    return _Layout(gguf.MODEL_ARCH_NAMES[architecture], table.get_name, heads)


def _renamed(layout: _Layout, tensors: FloatTensors) -> dict[str, NDArray[np.float32]]:
    """Return the tensors as llama.cpp names and orders them."""
    result: dict[str, NDArray[np.float32]] = {}
    for name, value in tensors.items():
        module, _, factor = name.rpartition(".lora_")
        target = layout.names(module)
        if target is None:
            raise TrainingError(
                f"llama.cpp has no name for {module} in its {layout.architecture} models. Export "
                "with --peft instead."
            )
        array = np.asarray(value, dtype=np.float32)
        if factor == "B" and layout.heads and module.endswith((".q_proj", ".k_proj")):
            array = permuted(array, layout.heads[module.endswith(".k_proj")])
        result[f"{target}.weight.lora_{factor.lower()}"] = np.ascontiguousarray(array)
    return dict(sorted(result.items()))


def permuted(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Return rows of a projection in llama.cpp's order: in each head, halves become neighbours.

    Args:
        rows: B of a query or key projection, (heads x width, rank).
        heads: The number of heads.
    """
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def _write(
    gguf: Any,
    path: Path,
    architecture: str,
    tensors: Mapping[str, NDArray[np.float32]],
    source: Source,
    origin: Origin,
) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_name(origin.title)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(source.parameters.lora.alpha))
    for name, value in origin.metadata().items():
        writer.add_string(name, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
