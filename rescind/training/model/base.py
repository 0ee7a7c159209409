"""The base model: loading it, and computing the id that pins it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer

from rescind.core.errors import TrainingError

# The files that decide what a model computes: weights, configuration and tokenizer.
_PINNED = (
    "*.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


Dtype = Literal["float32", "bfloat16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class WrongBaseModel(TrainingError):
    """The base model's files are not those that the consortium agreed on."""

    code = "wrong-base-model"


@dataclass(frozen=True)
class Base:
    """A frozen causal language model with its tokenizer, on one device."""

    model: Any
    tokenizer: Any
    id: str
    device: torch.device
    folder: Path

    @property
    def eos(self) -> int:
        """The id of the end-of-text token."""
        return int(self.tokenizer.eos_token_id)


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the named device; "auto" is a GPU where there is one, else the CPU."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def model_folder(reference: str | Path) -> Path:
    """Return the local folder of a model. A hub id is downloaded once, with safetensors weights.

    Raises:
        TrainingError: The reference is neither a folder nor a hub id that can be fetched.
    """
    path = Path(reference)
    if path.is_dir():
        return path
    if path.is_absolute() or str(reference).startswith("."):
        raise TrainingError(f"Base model folder {path} does not exist. Check the path.")
    try:
        return Path(snapshot_download(str(reference), allow_patterns=list(_PINNED)))
    except Exception as error:  # the hub's client raises many unrelated types
        raise TrainingError(
            f"Base model {str(reference)!r} is neither a folder nor a hub id that can be fetched "
            f"({type(error).__name__}). Check the name and the network."
        ) from error


def model_id(reference: str | Path) -> str:
    r"""Return the SHA-256 over the sorted lines "name:sha256\\n" of the model's files.

    The files are those of the weights, the configuration and the tokenizer.

    Raises:
        TrainingError: The folder has no safetensors weights.
    """
    folder = model_folder(reference)
    files = sorted({file for pattern in _PINNED for file in folder.glob(pattern)})
    if not any(file.suffix == ".safetensors" for file in files):
        raise TrainingError(f"{folder} has no *.safetensors weights. Save the model with them.")
    lines = []
    for file in files:
        with file.open("rb") as handle:
            lines.append(f"{file.name}:{hashlib.file_digest(handle, 'sha256').hexdigest()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_base(
    reference: str | Path,
    expected_id: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
) -> Base:
    """Load and freeze a base model.

    Args:
        reference: A folder or a hub id.
        expected_id: The id that the model must have, None for any.
        device: A torch device, or "auto".
        dtype: Of the frozen weights in memory. "bfloat16" halves them; LoRA tensors stay float32.

    Raises:
        WrongBaseModel: The files are not those of `expected_id`.
        TrainingError: The folder does not hold a causal language model with an end-of-text token.
    """
    folder = model_folder(reference)
    own_id = model_id(folder)
    if expected_id is not None and own_id != expected_id:
        raise WrongBaseModel(
            f"The base model in {folder} has id {own_id}, and the consortium trains {expected_id}. "
            "Use the consortium's model files, unchanged."
        )
    target = pick_device(device)
    if target.type == "cuda":
        # cuBLAS reads it when it starts; deterministic training needs it (see engine.settings).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=_DTYPES[dtype]
        )
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{folder} does not hold a causal language model: {error}.") from error
    if tokenizer.eos_token_id is None:
        raise TrainingError(
            f"The tokenizer in {folder} has no end-of-text token. Set eos_token in its "
            "configuration."
        )
    frozen: Any = model
    frozen.requires_grad_(False)
    return Base(frozen.to(target).eval(), tokenizer, own_id, target, folder)
