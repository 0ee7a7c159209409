"""Export of a full model with a block merged into its weights."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import GenerationConfig

from rescind.core import FloatTensors
from rescind.core.errors import TrainingError
from rescind.core.tensor_header import LENGTH_BYTES
from rescind.training.export.card import merged_card
from rescind.training.export.folder import new_export
from rescind.training.export.origin import Origin
from rescind.training.export.source import Source
from rescind.training.model.base import load_base
from rescind.training.model.files import read_config
from rescind.training.model.lora import LoraModel

KIND = "merged"
MergedDtype = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ADAPTER = "merged"
SHARD_BYTES = 4 * 2**30
"""The largest file of weights, by default."""


def write_merged(
    source: Source,
    origin: Origin,
    tensors: FloatTensors,
    out: Path,
    *,
    dtype: MergedDtype = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the base model with LoRA tensors merged into it, for AutoModelForCausalLM.

    The sum is in float32, whatever the type of the file.

    Args:
        source: The base model and what the consortium agreed on.
        origin: The model that the tensors are from.
        tensors: By bare name, A (rank, in) and B (out, rank).
        out: The folder.
        dtype: The type of the written weights.
        shard_bytes: The largest file of weights.

    Raises:
        ConfigError: `out` holds something else, or may not be written.
        StoreFull: The disk is full.
        TrainingError: The block cannot be merged into this base model.
    """
    if read_config(source.folder).get("quantization_config"):
        raise TrainingError(
            f"The base model in {source.folder} is quantized, and a block cannot be merged into "
            "quantized weights exactly. Export with --peft instead."
        )
    merged = _merge(source, tensors)
    merged.to(_DTYPES[dtype])
    merged.generation_config = GenerationConfig(**source.generation)  # type: ignore[no-untyped-call]
    origin = source.complete(origin)
    needed = sum(p.numel() * p.element_size() for p in merged.parameters())
    with new_export(
        out, {**source.mark(origin, KIND), "dtype": dtype}, needed_bytes=needed
    ) as folder:
        merged.save_pretrained(folder, max_shard_size=shard_bytes)
        for file in sorted(folder.glob("*.safetensors")):
            _add_metadata(file, origin.metadata())
        source.write_common(folder, origin, merged_card)


def _merge(source: Source, tensors: FloatTensors) -> Any:
    parameters = source.parameters
    base = load_base(
        source.folder, device="cpu", text=parameters.text, remote_code=source.remote_code
    )
    _check_untied(base.model, [name.rpartition(".lora_")[0] for name in tensors])
    model = LoraModel(base, parameters.lora)
    model.put(_ADAPTER, tensors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.use(_ADAPTER).merge_and_unload(safe_merge=True, adapter_names=[_ADAPTER])


def _check_untied(model: Any, modules: list[str]) -> None:
    """Refuse a module whose weights another part of the model uses, too."""
    weights = [(name, p.data_ptr()) for name, p in model.named_parameters(remove_duplicate=False)]
    for module in sorted(set(modules)):
        own = {pointer for name, pointer in weights if name == f"{module}.weight"}
        users = [name for name, pointer in weights if pointer in own]
        if len(users) > 1:
            raise TrainingError(
                f"{' and '.join(users)} are the same weights, and the block changes {module} alone. "
                "It cannot be merged. Export with --peft instead."
            )


def _add_metadata(file: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata to the header of a safetensors file, in a fixed order."""
    changed = file.with_suffix(".part")
    with file.open("rb") as old, changed.open("xb") as new:
        size = int.from_bytes(old.read(LENGTH_BYTES), "little")
        header = json.loads(old.read(size))
        own = header.pop("__metadata__", {})
        entries = {"__metadata__": dict(sorted({**own, **metadata}.items())), **header}
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % LENGTH_BYTES)
        new.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        shutil.copyfileobj(old, new, 2**20)
    changed.replace(file)
