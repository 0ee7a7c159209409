"""How one organization's machine trains: what it may choose for itself."""

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
"""Steps from which compiling is likely to pay back the minute that it takes."""


@dataclass(frozen=True)
class EngineSettings:
    """An organization's own matter: nobody else can or need repeat its floats, only its integers are
    registered. All of them but `gradient_checkpointing` and `deterministic` can change the last bits of
    a result, so an organization keeps them beside the run that it may have to replay.

    `micro_batch`: examples that go through the model at once, None for a whole batch; the gradient is
    that of the whole batch. `batching`: "plain" shuffles and pads; "bucketed" draws batches of like
    length; "packed" puts several pairs in a row, each of which sees only itself. `pack_length`: tokens
    of a packed row, None for the longest pair of the data or 512, whichever is more. `precision`: "auto"
    is bf16 on a GPU and float32 on a CPU. `compile`: "auto" is on for a GPU and at least 200 steps.
    `deterministic`: repeatable on a GPU, at a cost; on a CPU training always is.
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
                    f"engine setting {name} is {getattr(self, name)!r}: use one of "
                    f"{', '.join(allowed)}"
                )
        for name in ("micro_batch", "pack_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"engine setting {name} is {value}: it must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def in_bf16(self, device: torch.device) -> bool:
        return self.precision == "bf16" or (self.precision == "auto" and device.type == "cuda")

    def compiles(self, device: torch.device, steps: int) -> bool:
        if self.compile == "auto":
            return device.type == "cuda" and steps >= _WORTH_COMPILING
        return self.compile == "on"

    def flat_loss(self, device: torch.device) -> bool:
        """Whether the loss is computed over one long row of tokens: several times faster, and other
        last bits than the plain way on a CPU, to which recorded results are tied."""
        return device.type != "cpu" or self.batching != "plain" or self.in_bf16(device)


@contextmanager
def numerics(settings: EngineSettings, device: torch.device) -> Iterator[None]:
    """Deterministic kernels: always on a CPU; on a GPU when asked, otherwise where there are any."""
    strict = device.type == "cpu" or settings.deterministic
    if device.type == "cuda" and strict and "CUBLAS_WORKSPACE_CONFIG" not in os.environ:
        raise TrainingError(
            "deterministic training on a GPU needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the "
            "environment before the process starts"
        )
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=not strict)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        memory.fill_uninitialized_memory = filled
