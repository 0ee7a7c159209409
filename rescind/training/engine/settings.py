"""How one organization's machine computes: the settings that it may choose for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from rescind.core.errors import ConfigError, TrainingError

Batching = Literal["plain", "bucketed", "packed"]
Precision = Literal["auto", "float32", "bf16"]
Compile = Literal["auto", "on", "off"]

_CHOICES = {
    "batching": ("plain", "bucketed", "packed"),
    "precision": ("auto", "float32", "bf16"),
    "compile": ("auto", "on", "off"),
}
_WORTH_COMPILING = 200
"""Steps from which compiling is likely to repay the minute that it takes."""


@dataclass(frozen=True)
class EngineSettings:
    """How a machine trains.

    Each organization chooses for itself: its floats are never repeated by others, only its integers
    are registered. All settings except `gradient_checkpointing` and `deterministic` can change the
    last bits of a result, so an organization keeps them with each run that it may have to replay.

    Attributes:
        micro_batch: Examples that go through the model at once, None for a whole batch. The
            gradient is that of the whole batch.
        batching: "plain" shuffles and pads, "bucketed" draws batches of like length, "packed" puts
            several pairs in a row, each of which sees only itself.
        pack_length: Tokens of a packed row, None for the data's longest pair but at least 512.
        precision: "auto" is bf16 on a GPU and float32 on a CPU.
        gradient_checkpointing: Recompute activations in the backward pass, to save memory.
        compile: "auto" is on for a GPU and at least 200 steps.
        deterministic: Make training repeatable on a GPU, at a cost. On a CPU it always is.
    """

    micro_batch: int | None = None
    batching: Batching = "plain"
    pack_length: int | None = None
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    compile: Compile = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"Engine setting {name} is {getattr(self, name)!r}. Use one of "
                    f"{', '.join(allowed)}."
                )
        for name in ("micro_batch", "pack_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"Engine setting {name} is {value}. It must be at least 1.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return asdict(self)

    def in_bf16(self, device: torch.device) -> bool:
        """Return whether the forward pass runs in bfloat16 on a device."""
        return self.precision == "bf16" or (self.precision == "auto" and device.type == "cuda")

    def compiles(self, device: torch.device, steps: int) -> bool:
        """Return whether a run of `steps` steps compiles the model on a device."""
        if self.compile == "auto":
            return device.type == "cuda" and steps >= _WORTH_COMPILING
        return self.compile == "on"

    def flat_loss(self, device: torch.device) -> bool:
        """Return whether the loss is computed over one long row of tokens.

        That is several times faster, with other last bits. Recorded results were made on a CPU the
        plain way, so the plain way stays there.
        """
        return device.type != "cpu" or self.batching != "plain" or self.in_bf16(device)


@contextmanager
def numerics(settings: EngineSettings, device: torch.device) -> Iterator[None]:
    """Use deterministic kernels: always on a CPU; on a GPU when asked, otherwise where they exist.

    Raises:
        TrainingError: A GPU needs an environment variable that is not set.
    """
    strict = device.type == "cpu" or settings.deterministic
    if device.type == "cuda" and strict and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        raise TrainingError(
            "Deterministic training on a GPU needs the environment variable "
            "CUBLAS_WORKSPACE_CONFIG=:4096:8. Set it before the process starts."
        )
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    # Filling memory that is overwritten anyway costs time and changes no result.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        memory.fill_uninitialized_memory = filled
