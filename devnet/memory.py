"""The memory that a run needs, estimated from the files of its base model before anything starts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from rescind.core.errors import TrainingError
from rescind.core.machine import available_memory
from rescind.training.model.presets import Dtype

_GIB = 2**30
_MIB = 2**20

_PROCESS_BYTES = 400 * _MIB
"""Private memory of a daemon that has imported torch and holds no model, on a CPU."""
_CONTEXT_BYTES = 600 * _MIB
"""Memory of a GPU that each process's CUDA context takes."""
_BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_STORED = {"float32": "F32", "bfloat16": "BF16"}
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "4bit": 0.6}  # 4 bits come with scales
# Bytes that a training keeps for each token: in each layer, for each number of the hidden state and
# of the wider state inside its MLP (inputs of linear layers, in the model's type and again in
# float32 for LoRA), and for each word of the vocabulary (logits, their float32 copy, gradients).
_HIDDEN_BYTES = 60
_INNER_BYTES = 24
_VOCABULARY_BYTES = 16
_LORA_BYTES = 16 + 24
"""For each LoRA parameter: float32 with its gradient and two moments, and integers of three kinds."""


@dataclass(frozen=True)
class BaseFiles:
    """The size of a base model, as its files say it.

    Attributes:
        parameters: Numbers in its weights.
        stored: Types of its weights, as safetensors names them.
        layers: Layers; 0 where config.json does not say.
        hidden: Width of the hidden state.
        inner: Width inside an MLP.
        vocabulary: Tokens.
    """

    parameters: int
    stored: frozenset[str]
    layers: int = 0
    hidden: int = 0
    inner: int = 0
    vocabulary: int = 0

    @classmethod
    def read(cls, folder: Path) -> BaseFiles:
        """Read the headers of the weights, and config.json.

        Raises:
            TrainingError: A weights file is cut off or not one.
        """
        parameters, stored = 0, set()
        for file in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(file, framework="pt") as weights:
                    for name in weights.keys():  # noqa: SIM118 (not a dict)
                        part = weights.get_slice(name)
                        parameters += math.prod(part.get_shape())
                        stored.add(str(part.get_dtype()))
            except (SafetensorError, OSError) as error:
                raise TrainingError(
                    f"{file} is not a complete safetensors file: {error}. Fetch it again."
                ) from error
        config = _config(folder)
        hidden = _first(config, "hidden_size", "n_embd", "d_model")
        return cls(
            parameters,
            frozenset(stored),
            layers=_first(config, "num_hidden_layers", "n_layer", "num_layers"),
            hidden=hidden,
            inner=_first(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
            vocabulary=_first(config, "vocab_size"),
        )

    def dtype(self, *, bf16: bool) -> Dtype:
        """Return the type of the weights in memory, where the user names none.

        Args:
            bf16: Whether the machine multiplies bfloat16 in hardware. Otherwise it is many times
                slower than float32.
        """
        return "bfloat16" if bf16 and self.stored == {"BF16"} else "float32"

    def convertible(self, dtype: Dtype) -> bool:
        """Return whether a file of converted weights lets processes on a CPU share one copy."""
        return (
            len(self.stored) == 1
            and not self.shared(dtype)
            and self.stored <= set(_STORED.values())
        )

    def shared(self, dtype: Dtype) -> bool:
        """Return whether processes on a CPU share the file's pages, because nothing is converted."""
        return self.stored == {_STORED.get(dtype)}


@dataclass(frozen=True)
class Needs:
    """The memory that a run needs.

    Attributes:
        total: Bytes of all processes together.
        processes: Daemons that hold the model.
        weights: Bytes of one copy of the frozen weights.
        copies: Copies of it in memory.
        each: Bytes that each daemon needs beside the weights.
        place: "memory", or the GPU's name.
        available: Bytes that are there; None where the system does not say.
    """

    total: int
    processes: int
    weights: int
    copies: int
    each: int
    place: str
    available: int | None

    def sentence(self) -> str:
        """Say it in one line."""
        copies = "one copy that all share" if self.copies == 1 else f"{self.copies} copies"
        available = "" if self.available is None else f" of {_gib(self.available)} available"
        return (
            f"about {_gib(self.total)} of {self.place} needed{available}: {_gib(self.weights)} of "
            f"weights in {copies}, and {_gib(self.each)} for each of {self.processes} processes"
        )

    def check(self) -> None:
        """Refuse a run that cannot fit.

        Raises:
            TrainingError: Even the least that the run can do with is not there.
        """
        if self.available is not None and self.total > self.available:
            raise TrainingError(
                f"This run does not fit: {self.sentence()}. Stop other programs, take fewer "
                "--orgs, a smaller --model or --dtype bfloat16, or shorten the longest pairs."
            )


def needs(
    files: BaseFiles,
    dtype: Dtype,
    processes: int,
    *,
    gpu: bool,
    converted: bool = False,
    lora: int = 0,
    tokens: int = 0,
) -> Needs:
    """Estimate the memory of a run. Without `lora` and `tokens`: what it takes to hold the model.

    Args:
        files: The base model's size.
        dtype: Of the frozen weights in memory.
        processes: Daemons that hold the model.
        gpu: Whether they run on a GPU.
        converted: Whether they share a file of converted weights on a CPU.
        lora: LoRA parameters of one organization.
        tokens: Tokens of the largest batch.
    """
    weights = int(files.parameters * _BYTES[dtype])
    copies = 1 if not gpu and (converted or files.shared(dtype)) else processes
    inside = files.layers * (files.hidden * _HIDDEN_BYTES + files.inner * _INNER_BYTES)
    working = tokens * (inside + files.vocabulary * _VOCABULARY_BYTES)
    each = (_CONTEXT_BYTES if gpu else _PROCESS_BYTES) + lora * _LORA_BYTES + working
    place, available = ("the GPU's memory", gpu_memory()) if gpu else ("memory", available_memory())
    # The demo itself holds a context on the GPU too, and on a CPU what it holds is shared.
    total = weights * copies + each * processes + (_CONTEXT_BYTES if gpu else _PROCESS_BYTES)
    return Needs(total, processes, weights, copies, each, place, available)


def multiplies_bf16() -> bool:
    """Return whether this machine's GPU, or without one its CPU, multiplies bfloat16 in hardware."""
    import torch

    if torch.cuda.is_available():
        return True
    supported = torch.cpu.get_capabilities()
    return any(supported.get(name) for name in _BF16_CAPABILITIES)


def gpu_memory() -> int | None:
    """Return the free bytes of the GPU that the daemons would use, or None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    return int(free)


def _config(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    inner = content.get("text_config")
    return {**content, **inner} if isinstance(inner, dict) else content


def _first(config: dict[str, Any], *names: str) -> int:
    values: Sequence[Any] = [config.get(name) for name in names]
    return next((value for value in values if isinstance(value, int) and value > 0), 0)


def _gib(value: int) -> str:
    return f"{value / _GIB:.1f} GiB" if value >= _GIB / 10 else f"{value / _MIB:.0f} MiB"
