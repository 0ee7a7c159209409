"""adapter_config.json: the settings of LoRA as peft writes them, with every name resolved."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from rescind.core import ConsortiumParameters
from rescind.core.errors import TrainingError
from rescind.training.export.reference import BaseReference
from rescind.training.model.lora import peft_config

FILE = "adapter_config.json"
_FACTORS = (".lora_A.default.weight", ".lora_B.default.weight")
_PREFIX = "base_model.model."
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM accepts for --max-lora-rank (its config/lora.py)."""


def resolved_config(
    folder: Path,
    parameters: ConsortiumParameters,
    reference: BaseReference,
    *,
    remote_code: bool = False,
) -> LoraConfig:
    """Return peft's settings for a base model, with the names of its modules.

    peft resolves "all-linear" and `fan_in_fan_out` while it puts LoRA into a model. That is done
    here on a model without weights.

    Args:
        folder: The base model's folder.
        parameters: What the consortium agreed on.
        reference: The base model's name for other machines.
        remote_code: Let Python files of the model's folder run.

    Raises:
        TrainingError: The folder has another architecture than the agreed tensors are of.
    """
    config = peft_config(parameters.lora)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = get_peft_model(_without_weights(folder, remote_code), config)
    shapes = {
        name.removeprefix(_PREFIX).removesuffix(".default.weight"): tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.endswith(_FACTORS)
    }
    if shapes != parameters.shapes:
        different = sorted(set(shapes.items()) ^ set(parameters.shapes.items()))[0][0]
        raise TrainingError(
            f"The base model in {folder} and the consortium's parameters differ in tensor "
            f"{different}. Export with the consortium's base model."
        )
    config.base_model_name_or_path = reference.name
    config.revision = reference.revision
    config.inference_mode = True
    return config


def config_document(config: LoraConfig) -> dict[str, Any]:
    """Return the settings as JSON, in an order that does not change from run to run."""
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in sorted(config.to_dict().items())  # type: ignore[no-untyped-call]
    }


def vllm_rank(rank: int) -> int | None:
    """Return the least `--max-lora-rank` of vLLM for adapters of a rank, None if there is none."""
    return next((allowed for allowed in VLLM_RANKS if allowed >= rank), None)


def _without_weights(folder: Path, remote_code: bool) -> Any:
    allowed = {"trust_remote_code": remote_code}
    config = AutoConfig.from_pretrained(folder, local_files_only=True, **allowed)
    models: Any = AutoModelForCausalLM
    with torch.device("meta"):
        return models.from_config(config, **allowed)
