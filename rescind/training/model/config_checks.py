"""Checks of a base model's configuration: whether it is a causal language model that can be trained."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from rescind.core.errors import TrainingError
from rescind.training.model.file_checks import tensor_shapes
from rescind.training.model.files import read_config, read_json_object

_HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM")
"""Ends of the names of architectures whose heads do not write text."""
_OTHER_SENSES = ("vision_config", "audio_config")
_POSITIONS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_sequence_length",
    "max_seq_len",
)
_TOKENIZER_CONFIG = "tokenizer_config.json"


def check_config(folder: Path, *, remote_code: bool = False) -> Any:
    """Return a model's configuration, after a check that the model is a causal language model.

    Args:
        folder: The model's folder.
        remote_code: Whether Python files of the folder may run.

    Raises:
        TrainingError: The model is of another kind, quantized, or needs code of its own.
    """
    raw = read_config(folder)
    _check_code(folder, raw, remote_code=remote_code)
    try:
        config: Any = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=remote_code
        )
    except Exception as error:  # configurations raise many unrelated types
        if raw.get("model_type") is None:
            raise TrainingError(
                f"{folder / 'config.json'} has no model_type, so it is not the configuration of a "
                "model of transformers. Fetch the model again."
            ) from error
        raise TrainingError(
            f"The configuration of {folder}, of model type {raw['model_type']!r}, is not usable by "
            f"transformers {transformers.__version__} ({one_line(error)}). Upgrade transformers, or "
            "take another model."
        ) from error
    _check_kind(folder, raw, config, remote_code=remote_code)
    return config


def check_layers(folder: Path, config: Any, tensors: Collection[str]) -> None:
    """Check that the weights can fill the layers, before a model with all of them is built.

    Args:
        folder: The model's folder.
        config: Its configuration.
        tensors: Names of the tensors in its weights.

    Raises:
        TrainingError: config.json says more layers than there are tensors.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(tensors):
        raise TrainingError(
            f"{folder / 'config.json'} says {layers:,} layers, and the weights have "
            f"{len(tensors):,} tensors. They are of different models: fetch the model again."
        )


def check_shapes(folder: Path, *, remote_code: bool = False) -> None:
    """Compare the shapes in the weights with those that config.json asks for.

    Args:
        folder: The folder of a model that could not be loaded.
        remote_code: Whether Python files of the folder may run.

    Raises:
        TrainingError: One differs. The message has the tensor and both shapes.
    """
    shapes = tensor_shapes(folder)
    config = check_config(folder, remote_code=remote_code)
    try:
        with torch.device("meta"):  # without memory: the shapes may be anything
            loader: Any = AutoModelForCausalLM
            model = loader.from_config(config, trust_remote_code=remote_code)
    except Exception:  # the caller says why the model cannot be built
        return
    for name, tensor in model.named_parameters():
        if name in shapes and shapes[name] != list(tensor.shape):
            raise TrainingError(
                f"The tensor {name} in the weights of {folder} has shape {shapes[name]}, and config.json "
                f"asks for {list(tensor.shape)}. They are of different models: fetch the model again."
            )


def positions_of(config: Any) -> int | None:
    """Return the most tokens that a model takes at once, None where it sets no limit."""
    text = config.get_text_config()
    for name in _POSITIONS:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def one_line(error: BaseException) -> str:
    """Return the beginning of an error of a library, on one line and without a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):  # its text is the key alone
        text = f"{text} is unknown"
    return text.rstrip(".") if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST = 200


def _known(raw: dict[str, Any]) -> bool:
    """Return whether transformers has this model's code itself."""
    kind = str(raw.get("model_type"))
    mapping = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    return kind in mapping and mapping[kind] in AutoModelForCausalLM._model_mapping


def _check_code(folder: Path, raw: dict[str, Any], *, remote_code: bool) -> None:
    """Refuse code of the model's own unless it is asked for, and code of other repositories always."""
    maps = [raw.get("auto_map")]
    if (folder / _TOKENIZER_CONFIG).is_file():
        maps.append(read_json_object(folder / _TOKENIZER_CONFIG).get("auto_map"))
    named = [str(value) for each in maps if isinstance(each, dict) for value in each.values()]
    if remote_code:
        if elsewhere := [value for value in named if "--" in value]:
            raise TrainingError(
                f"The model in {folder} runs code of another repository ({elsewhere[0]}), which its "
                "id does not pin. Copy the code into the folder and name it there in auto_map."
            )
        return
    if isinstance(raw.get("auto_map"), dict) and not _known(raw):
        raise TrainingError(
            f"The model in {folder} needs Python code of its own ({named[0] if named else 'auto_map'})"
            ", which is not run. If you have read and trust it, allow it with --remote-code, or "
            "remote_code = true under [model]; every member must, because the model's id then covers "
            "the code."
        )


def _check_kind(folder: Path, raw: dict[str, Any], config: Any, *, remote_code: bool) -> None:
    named = raw.get("architectures") or []
    if not isinstance(named, list):
        raise TrainingError(
            f"{folder / 'config.json'} has architectures {named!r}, which must be a list of names. "
            "Fetch the file again."
        )
    architectures = [str(name) for name in named]
    name = architectures[0] if architectures else str(raw.get("model_type"))
    if config.is_encoder_decoder:
        raise TrainingError(
            f"{folder} holds an encoder-decoder model ({name}). Take a causal language model, which "
            "continues its prompt."
        )
    quantization = raw.get("quantization_config") or raw.get("compression_config")
    if quantization:
        method = (
            quantization.get("quant_method", "unnamed") if isinstance(quantization, dict) else ""
        )
        raise TrainingError(
            f"The weights in {folder} are quantized ({method or quantization}). Take the unquantized "
            'model; to save memory on a GPU load it with dtype "4bit".'
        )
    if any(name.endswith(f"For{head}") for head in _HEADS):
        raise TrainingError(
            f"{folder} holds {name}, whose head does not write text. Take a causal language model."
        )
    if senses := [sense for sense in _OTHER_SENSES if getattr(config, sense, None) is not None]:
        raise TrainingError(
            f"{folder} holds {name}, which also takes images or sound ({senses[0]}). Take a model of "
            "text alone."
        )
    remote = remote_code and "AutoModelForCausalLM" in (raw.get("auto_map") or {})
    if type(config) not in AutoModelForCausalLM._model_mapping and not remote:
        raise TrainingError(
            f"{folder} holds {name}, which transformers does not have as a causal language model. "
            "Take a model that continues its prompt."
        )
