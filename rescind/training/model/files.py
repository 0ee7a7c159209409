"""The files of a base model: which of them decide what the model computes, and the id that pins them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rescind.core.errors import TrainingError
from rescind.training.model.presets import resolve

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

SMALL_FILES = (
    CONFIG,
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.*",
    "tokenizer.tiktoken",
    "*.tiktoken",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
)
"""Configuration, tokenizer and templates. `generation_config.json` is not among them: answers are
generated with Rescind's own settings."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.*",
    "*.tiktoken",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
"""Files that hold a vocabulary."""
CODE_FILES = "*.py"
"""Python files of a model that transformers does not know. Pinned only where they may run."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model's config.json.

    Raises:
        TrainingError: The file is missing or is not a JSON object.
    """
    return read_json_object(folder / CONFIG)


def read_json_object(path: Path) -> dict[str, Any]:
    """Return a JSON object of a model's folder.

    Raises:
        TrainingError: The file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(f"{path} does not exist. Fetch the model again.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(
            f"{path} cannot be read as JSON ({error}). Fetch the file again."
        ) from error
    if not isinstance(value, dict):
        raise TrainingError(f"{path} is not a JSON object. Fetch the file again.")
    return value


def weights_name(folder: Path) -> str:
    """Return the name of the file that says where the weights are: the weights, or their index.

    As transformers chooses: the file that config.json names, else model.safetensors, else the index.
    """
    named = read_config(folder).get("transformers_weights")
    if isinstance(named, str) and named.endswith((".safetensors", ".safetensors.index.json")):
        return named
    return INDEX if (folder / INDEX).is_file() and not (folder / WEIGHTS).is_file() else WEIGHTS


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights, sorted. They need not exist.

    Raises:
        TrainingError: The index is malformed or names a file outside the folder.
    """
    name = weights_name(folder)
    if not name.endswith(".index.json"):
        return [_inside(folder, name)]
    index = folder / name
    shards = read_json_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise TrainingError(f"{index} has no weight_map. Fetch the file again.")
    return sorted({_inside(folder, str(shard)) for shard in shards.values()})


def _inside(folder: Path, name: str) -> Path:
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
        raise TrainingError(
            f"The weights of {folder} are said to be in {name!r}. They must be *.safetensors files "
            "in the model's folder."
        )
    return folder / path


def small_files(folder: Path) -> list[Path]:
    """Return the configuration, tokenizer, template and index files that are there."""
    files = {path for pattern in SMALL_FILES for path in folder.glob(pattern)}
    name = weights_name(folder)
    if name.endswith(".index.json"):
        files.add(folder / name)
    return sorted(files)


def model_id(reference: str | Path, *, remote_code: bool = False) -> str:
    r"""Return the SHA-256 over the sorted lines "name:sha256\\n" of the model's files.

    The files are the weights that are loaded, their index, the configuration, the tokenizer and the
    chat templates. Weights that no index names, and every other file, do not count.

    Args:
        reference: A preset, a folder or a hub id.
        remote_code: Whether the folder's own Python files may run. Then they count too, and the id
            differs from that of the same folder without them.

    Raises:
        TrainingError: The folder has no safetensors weights, or a file cannot be read.
    """
    folder = resolve(reference, remote_code=remote_code)
    files = {*small_files(folder), *weight_files(folder)}
    if remote_code:
        files |= set(folder.rglob(CODE_FILES))
    lines = ["remote-code:allowed\n"] if remote_code else []
    for file in sorted(files):
        name = file.relative_to(folder).as_posix()
        lines.append(f"{name}:{_sha256(file)}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise TrainingError(f"{file} does not exist. Fetch the model again.") from error
    except OSError as error:
        raise TrainingError(f"{file} cannot be read: {error.strerror}.") from error
