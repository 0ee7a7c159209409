"""Checks of a base model's files that need neither torch nor transformers.

Each refusal is one line that names the file. They come before anything is loaded, because the
loaders of the libraries answer a cut-off file with a traceback, and a missing tensor with a random
one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from rescind.core.errors import TrainingError
from rescind.training.model.files import (
    CONFIG,
    SMALL_FILES,
    TOKENIZER_FILES,
    read_config,
    read_json_object,
    small_files,
    weight_files,
    weights_name,
)

_ADAPTER = "adapter_config.json"
_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = b"/annex/objects/"
_POINTER_BYTES = 1024
"""A pointer of Git LFS or git-annex is shorter than this."""
_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000
"""The longest header that safetensors reads."""
_FLOATS = ("F64", "F32", "F16", "BF16")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_OTHER_FORMATS = {
    "*.gguf": "GGUF",
    "*.h5": "TensorFlow",
    "*.msgpack": "Flax",
    "*.onnx": "ONNX",
    "*.mlmodel": "Core ML",
}


def check_files(folder: Path) -> dict[str, Path]:
    """Check that a folder holds the files of one base model, whole.

    Returns:
        The file of each tensor, by the tensor's name.

    Raises:
        TrainingError: A file is missing, cut off, a pointer to one that was not fetched, or of
            another kind of model. The message says what to do.
    """
    _check_kind(folder)
    _check_links(folder)
    for file in small_files(folder):
        _check_pointer(file)
    weights = weight_files(folder)
    _check_weights_there(folder, weights)
    tensors: dict[str, Path] = {}
    for file in weights:
        _check_pointer(file)
        tensors |= dict.fromkeys(_read_header(file), file)
    _check_index(folder, tensors)
    if not any(True for pattern in TOKENIZER_FILES for _ in folder.glob(pattern)):
        raise TrainingError(
            f"{folder} has no tokenizer files. Save the tokenizer beside the model: "
            "tokenizer.save_pretrained(folder)."
        )
    return tensors


def tensor_shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a folder's weights, whose files were checked."""
    headers = [_read_header(file) for file in weight_files(folder)]
    return {name: tensor["shape"] for header in headers for name, tensor in header.items()}


def _check_kind(folder: Path) -> None:
    """Refuse adapters and folders without a configuration."""
    adapter = folder / _ADAPTER
    if adapter.is_file():
        base = read_json_object(adapter).get("base_model_name_or_path")
        of = f" of {base!r}" if isinstance(base, str) and base else ""
        raise TrainingError(
            f"{folder} holds a peft adapter{of} ({_ADAPTER}), not a base model alone. Name the base "
            "model itself, or merge the adapter into it (peft's merge_and_unload) and save that."
        )
    config = folder / CONFIG
    if config.is_symlink() and not config.exists():
        _refuse_dangling(config)
    if not config.is_file():
        raise TrainingError(
            f"{folder} is not a model folder: it has no {CONFIG}{_other_weights(folder)}. Save the "
            "model with save_pretrained(folder)."
        )
    _check_pointer(config)
    read_config(folder)


def _other_weights(folder: Path) -> str:
    """Say which weights of other formats a folder holds, or nothing."""
    for pattern, name in _OTHER_FORMATS.items():
        if file := next(iter(sorted(folder.glob(pattern))), None):
            return f", but {name} weights ({file.name})"
    return ""


def _check_weights_there(folder: Path, weights: list[Path]) -> None:
    missing = [file for file in weights if not file.exists()]
    if not missing:
        return
    if missing[0].is_symlink():
        _refuse_dangling(missing[0])
    name = weights_name(folder)
    if name.endswith(".index.json"):
        raise TrainingError(
            f"{folder} lacks {len(missing)} of the {len(weights)} weight files that {name} names: "
            f"{', '.join(file.name for file in missing[:3])}. Fetch the model again."
        )
    pickled = sorted(file.name for pattern in _PICKLED for file in folder.glob(pattern))
    if pickled:
        raise TrainingError(
            f"{folder} has only pickled weights ({pickled[0]}), which can run any code when they are "
            "read. Take a revision with *.safetensors, or load the model where you trust it and save "
            "it again: model.save_pretrained(folder)."
        )
    raise TrainingError(
        f"{folder} has no *.safetensors weights: {missing[0].name} is not there"
        f"{_other_weights(folder)}. Save the model with model.save_pretrained(folder)."
    )


def _check_links(folder: Path) -> None:
    """Refuse a configuration, tokenizer or template that is a link to nothing.

    To the libraries it would be a file that the model does not have, and another end-of-text token
    or no chat template would be taken.
    """
    for path in sorted(folder.iterdir()):
        counts = any(path.match(pattern) for pattern in SMALL_FILES)
        if counts and path.is_symlink() and not path.exists():
            _refuse_dangling(path)


def _refuse_dangling(link: Path) -> NoReturn:
    raise TrainingError(
        f"{link} is a link to a file that is not there ({link.readlink()}). Fetch the model again."
    )


def _check_pointer(file: Path) -> None:
    """Refuse the text that stands for a file which git did not fetch."""
    if file.exists() and not file.is_file():
        raise TrainingError(f"{file} is not a file. Fetch the model again.")
    try:
        with file.open("rb") as handle:
            head = handle.read(_POINTER_BYTES)
    except OSError as error:
        raise TrainingError(f"{file} cannot be read: {error.strerror}.") from error
    if head.startswith(_LFS):
        raise TrainingError(
            f"{file} is a Git LFS pointer: the file itself was not fetched. Run in its folder: "
            "git lfs pull"
        )
    if len(head) < _POINTER_BYTES and _ANNEX in head:
        raise TrainingError(
            f"{file} is a git-annex pointer: the file itself was not fetched. Run in its folder: "
            "git annex get ."
        )
    if not head:
        raise TrainingError(f"{file} is empty. Fetch the file again.")


def _read_header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file, after a check of it and of the file's size."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > _MOST_HEADER_BYTES:
            _refuse_damaged(file, "it does not begin as a safetensors file does")
        text = handle.read(length)
    if len(text) < length:
        _refuse_damaged(file, f"it is cut off within its header, at {size:,} bytes")
    header = _header(file, text)
    end = (
        _LENGTH_BYTES
        + length
        + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    )
    if size < end:
        _refuse_damaged(file, f"it is cut off: {size:,} of {end:,} bytes are there")
    if size > end:
        _refuse_damaged(file, f"it has {size - end:,} bytes too many")
    _check_types(file, header)
    return header


def _check_types(file: Path, header: dict[str, Any]) -> None:
    """Refuse weights that are not floating point; a buffer, such as a mask, may be."""
    for name, tensor in header.items():
        kind = tensor.get("dtype")
        if name.endswith(".weight") and kind not in _FLOATS:
            raise TrainingError(
                f"The tensor {name[:80]} in {file} is of type {kind}. Only {', '.join(_FLOATS)} are "
                "trained on: take the model before it was quantized."
            )


def _header(file: Path, text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        places = [number for entry in header.values() for number in entry["data_offsets"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _refuse_damaged(file, "its header is not readable")
    if not places:
        _refuse_damaged(file, "it holds no tensors")
    # bool is an int to Python, and 1e400 a number to JSON.
    if len(places) != 2 * len(header) or any(
        type(place) is not int or place < 0 for place in places
    ):
        _refuse_damaged(file, "its header does not say where its tensors are")
    return dict(header)


def _refuse_damaged(file: Path, why: str) -> NoReturn:
    raise TrainingError(f"{file} is damaged: {why}. Fetch the file again.")


def _check_index(folder: Path, tensors: dict[str, Path]) -> None:
    """Refuse an index that places a tensor where it is not."""
    name = weights_name(folder)
    if not name.endswith(".index.json"):
        return
    for tensor, shard in read_json_object(folder / name)["weight_map"].items():
        if tensors.get(tensor) != folder / shard:
            raise TrainingError(
                f"{folder / name} places the tensor {tensor!r} in {shard}, which does not hold it. "
                "The index and the weights are of different versions: fetch the model again."
            )
