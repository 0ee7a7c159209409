"""The base model: loading it, and the id that pins it."""

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
        return int(self.tokenizer.eos_token_id)


def pick_device(wanted: str = "auto") -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def model_folder(reference: str | Path) -> Path:
    """The local folder of a model by folder or hub id (downloaded once, weights as safetensors)."""
    path = Path(reference)
    if path.is_dir():
        return path
    if path.is_absolute() or str(reference).startswith("."):
        raise TrainingError(f"base model folder {path} does not exist")
    try:
        return Path(snapshot_download(str(reference), allow_patterns=list(_PINNED)))
    except Exception as error:  # the hub's client raises many unrelated types
        raise TrainingError(
            f"base model {str(reference)!r} is neither a folder nor a hub id that can be fetched: "
            f"{type(error).__name__}"
        ) from error


def model_id(reference: str | Path) -> str:
    """SHA-256 over the lines "name:sha256\\n" of weight, config and tokenizer files, sorted."""
    folder = model_folder(reference)
    files = sorted({file for pattern in _PINNED for file in folder.glob(pattern)})
    if not any(file.suffix == ".safetensors" for file in files):
        raise TrainingError(f"{folder} holds no *.safetensors weights: save the model with them")
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
    """Load and freeze. `dtype`: of the frozen weights in memory; "bfloat16" halves them, and LoRA
    tensors stay float32. Raises WrongBaseModel when the files are not those of `expected_id`.
    """
    folder = model_folder(reference)
    found = model_id(folder)
    if expected_id is not None and found != expected_id:
        raise WrongBaseModel(
            f"base model in {folder} has id {found}, the consortium trains {expected_id}: "
            "use the consortium's model files, unchanged"
        )
    target = pick_device(device)
    if target.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=_DTYPES[dtype]
        )
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{folder} does not hold a causal language model: {error}") from error
    if tokenizer.eos_token_id is None:
        raise TrainingError(f"the tokenizer in {folder} has no end-of-text token")
    frozen: Any = model
    frozen.requires_grad_(False)
    return Base(frozen.to(target).eval(), tokenizer, found, target, folder)
