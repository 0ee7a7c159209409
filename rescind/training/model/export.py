"""Export of a block, or of the shared adapter, as a folder that peft loads."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from rescind.core import (
    ConsortiumParameters,
    Totals,
    block,
    materialize,
)
from rescind.core.exports import Export
from rescind.training.model.lora import peft_config


def export_peft(
    parameters: ConsortiumParameters,
    totals: Totals,
    owner: str,
    base: str,
    out: Path,
    adapter_id: str = "",
) -> None:
    """Write adapter_model.safetensors and adapter_config.json, for PeftModel.from_pretrained.

    Args:
        parameters: What the consortium agreed on.
        totals: The adapter as integers.
        owner: The block to write.
        base: The base model's folder or hub id.
        out: The folder.
        adapter_id: The published adapter, which a mark names: a node erases the copy with it.
    """
    tensors = materialize(
        block(totals, owner), parameters.shapes, parameters=parameters, owner=owner
    )
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"base_model.model.{name}.weight": torch.from_numpy(t) for name, t in tensors.items()},
        out / "adapter_model.safetensors",
    )
    config = peft_config(parameters.lora)
    config.base_model_name_or_path = base
    config.inference_mode = True
    config.save_pretrained(str(out))
    if adapter_id:
        Export(out, adapter_id, tuple(path.name for path in out.iterdir())).save()
