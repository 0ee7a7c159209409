"""Export of a block, or of the shared adapter, as a folder that peft and vLLM load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rescind.core import (
    SHARED,
    ConsortiumParameters,
    FloatTensors,
    TensorSpec,
    Totals,
    block,
    materialize,
)
from rescind.core.tensor_header import in_file_order, write_header
from rescind.training.export.card import adapter_card
from rescind.training.export.folder import new_export
from rescind.training.export.lora_settings import FILE as SETTINGS
from rescind.training.export.lora_settings import config_document, resolved_config
from rescind.training.export.origin import Origin
from rescind.training.export.source import Source
from rescind.training.export.tokenizer_files import write_json
from rescind.training.split.parts import shared_alone, split_parts

WEIGHTS = "adapter_model.safetensors"
KIND = "peft"


def export_peft(
    parameters: ConsortiumParameters,
    totals: Totals,
    owner: str,
    base: str,
    out: Path,
    adapter_id: str = "",
) -> None:
    """Write a block as a folder for PeftModel.from_pretrained, without a chain.

    Args:
        parameters: What the consortium agreed on.
        totals: The adapter as integers.
        owner: The block to write.
        base: The base model: a preset, a folder or a hub id.
        out: The folder.
        adapter_id: The published adapter, which a mark names: a node erases the copy with it.

    Raises:
        ConfigError: `out` holds something else, or may not be written.
        StoreFull: The disk is full.
        TrainingError: The base model is not the consortium's.
    """
    write_peft(
        Source.open(parameters, base),
        Origin(owner, adapter_id=adapter_id),
        block_tensors(parameters, totals, owner),
        out,
    )


def block_tensors(parameters: ConsortiumParameters, totals: Totals, owner: str) -> FloatTensors:
    """Return a block's LoRA tensors by bare name, in a split coupling with the shared ranks in it."""
    if parameters.split is not None and owner == SHARED:
        return shared_alone(parameters, parameters.split, totals)
    if parameters.split is not None:
        return split_parts(parameters, parameters.split, totals, owner).joined()
    return materialize(block(totals, owner), parameters.shapes, parameters=parameters, owner=owner)


def write_peft(source: Source, origin: Origin, tensors: FloatTensors, out: Path) -> None:
    """Write LoRA tensors as a folder that peft and vLLM load. The same input gives the same bytes.

    Args:
        source: The base model and what the consortium agreed on.
        origin: The model that the tensors are from.
        tensors: By bare name, A (rank, in) and B (out, rank).
        out: The folder.

    Raises:
        ConfigError: `out` holds something else, or may not be written.
        StoreFull: The disk is full.
        TrainingError: The tensors are not of the base model.
    """
    config = config_document(
        resolved_config(
            source.folder,
            source.parameters,
            source.reference,
            remote_code=source.remote_code,
        )
    )
    origin = source.complete(origin)
    needed = sum(np.asarray(tensor).nbytes for tensor in tensors.values())
    with new_export(out, source.mark(origin, KIND), needed_bytes=needed) as folder:
        weights = {f"base_model.model.{name}.weight": value for name, value in tensors.items()}
        write_float32(folder / WEIGHTS, weights, origin.metadata())
        write_json(folder / SETTINGS, config)
        source.write_common(folder, origin, adapter_card)


def write_float32(path: Path, tensors: FloatTensors, metadata: Mapping[str, str]) -> None:
    """Write float32 tensors as safetensors, with sorted names and metadata."""
    arrays = {name: np.ascontiguousarray(value, dtype="<f4") for name, value in tensors.items()}
    specs = {name: TensorSpec("F32", value.shape) for name, value in arrays.items()}
    with path.open("xb") as file:
        file.write(write_header(specs, dict(sorted({"format": "pt", **metadata}.items()))))
        for name in in_file_order(specs):
            file.write(arrays[name].reshape(-1).data)
