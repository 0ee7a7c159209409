"""The base model with the LoRA tensors that a consortium agreed on."""

from __future__ import annotations

from pathlib import Path

from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError
from rescind.training.model.base import load_base, pick_device
from rescind.training.model.lora import LoraModel
from rescind.training.model.presets import Dtype
from rescind.training.model.shared_weights import map_shared, stored_as


def load_agreed(
    reference: str | Path,
    parameters: ConsortiumParameters,
    device: str = "auto",
    dtype: Dtype = "float32",
    *,
    remote_code: bool = False,
    shared_weights: Path | None = None,
) -> LoraModel:
    """Load the base model of a consortium, and check that it can do what was agreed on.

    Args:
        reference: The name of a preset, a folder or a hub id.
        parameters: What the consortium agreed on.
        device: A torch device, or "auto".
        dtype: Of the frozen weights in memory.
        remote_code: Let Python files of the model's folder run.
        shared_weights: File of the weights converted to `dtype`, which processes on a CPU share.

    Raises:
        WrongBaseModel: The files are not those that the consortium agreed on.
        WeightsDiffer: `shared_weights` holds other weights.
        TrainingError: The model cannot be loaded, takes fewer tokens than `max_length`, or its
            tokenizer cannot do what the text rules say.
        ConfigError: Its LoRA tensors are not the agreed ones.
    """
    maps = shared_weights is not None and pick_device(device).type == "cpu"
    base = load_base(
        reference,
        parameters.base_model_id,
        device,
        stored_as(dtype) if maps else dtype,
        remote_code=remote_code,
        positions=parameters.training.max_length,
        text=parameters.text,
    )
    if maps and shared_weights is not None:
        base = map_shared(base, shared_weights)
    model = LoraModel(base, parameters.lora)
    if model.shapes != parameters.shapes:
        different = sorted(
            name
            for name in {*model.shapes, *parameters.shapes}
            if model.shapes.get(name) != parameters.shapes.get(name)
        )
        raise ConfigError(
            f"The LoRA tensors of the base model {reference} are not those that the consortium agreed "
            f"on: {different[0]} differs. Check model.path, lora and shapes of the agreed parameters."
        )
    return model
