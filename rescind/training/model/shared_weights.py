"""One copy of a base model's weights for all processes of a machine.

safetensors maps a file instead of reading it, so that processes that load one model share the pages
of its file if no weight is converted. For another type than the file's, the weights are
converted once, into a second file that all map. What that file holds is compared with the pinned
files by each process, so nothing depends on who wrote it.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rescind.core import make_private_folder
from rescind.core.errors import TrainingError
from rescind.core.files import PRIVATE_FILE
from rescind.training.model.base import Base
from rescind.training.model.presets import Dtype

_LORA = ("lora_A", "lora_B")


class WeightsDiffer(TrainingError):
    """A file of converted weights does not hold those of the base model."""

    code = "weights-differ"


def stored_as(dtype: Dtype) -> Dtype:
    """Return the type to load a base with before its weights are mapped in `dtype`.

    A file of converted weights is of use where the base's own files have the other type. Loaded in
    that type they are mapped as well, so that no process holds a copy at any time.
    """
    return "bfloat16" if dtype == "float32" else "float32"


def write_shared(base: Base, file: Path, dtype: torch.dtype) -> None:
    """Write the weights of a base model, converted, into a file. One that is there is kept.

    Args:
        base: The base model.
        file: The file to write. Its folder is created.
        dtype: The type of the weights in the file.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    if file.is_file():
        return
    make_private_folder(file.parent)
    temporary = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        save_file(
            {name: _converted(tensor, dtype) for name, tensor in _weights(base.model).items()},
            temporary,
        )
        temporary.chmod(PRIVATE_FILE)
        temporary.replace(file)
    except SafetensorError as error:
        raise OSError(0, str(error), os.fspath(file)) from error
    finally:
        temporary.unlink(missing_ok=True)


def map_shared(base: Base, file: Path) -> Base:
    """Take the weights of a base model from a file of `write_shared`, without copying them.

    Returns:
        The same model, in the type of the file.

    Args:
        base: The base model, on the CPU, with or without LoRA, in the type of its own files.
        file: The converted weights.

    Raises:
        WeightsDiffer: The file holds other weights, or is not complete. The model may have some of
            its weights from it by then, and those are its own.
    """
    weights, dtype = _weights(base.model), torch.float32
    try:
        with safe_open(file, framework="pt") as content:
            for name, own in weights.items():
                mapped = content.get_tensor(name)
                if not torch.equal(mapped, _converted(own.data, mapped.dtype)):
                    raise WeightsDiffer(f"{file} differs from the base model at {name}. Delete it.")
                own.data, dtype = mapped, mapped.dtype
    except (SafetensorError, OSError, RuntimeError) as error:
        raise WeightsDiffer(f"{file} cannot be used: {error}. Delete it.") from error
    for buffer in base.model.buffers():
        if buffer.dtype in (torch.bfloat16, torch.float16):
            buffer.data = buffer.data.to(dtype)
    return replace(base, dtype="bfloat16" if dtype == torch.bfloat16 else "float32")


def _weights(model: Any) -> dict[str, torch.nn.Parameter]:
    """Return the frozen parameters by their names without LoRA; tied ones once."""
    return {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters()
        if not any(factor in name.split(".") for factor in _LORA)
    }


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.detach().to(dtype).contiguous()
