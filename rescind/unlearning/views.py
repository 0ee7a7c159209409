"""Views: a network's predictions on a batch, from which losses are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from rescind.training import Base
from rescind.training.engine.batches import IGNORED, Encoded, pad
from rescind.unlearning.losses import token_log_probs


@dataclass(frozen=True)
class Batch:
    """Right-padded rows, each (rows, longest). Labels are IGNORED where a token does not count."""

    tokens: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(cls, base: Base, rows: Sequence[Encoded], *, prompt_in_loss: bool) -> Batch:
        """Pad rows into a batch."""
        return cls(*pad(base, rows, prompt_in_loss=prompt_in_loss))


@dataclass(frozen=True)
class View:
    """The predictions of the next token at each position of a batch.

    Attributes:
        logits: (rows, tokens, vocabulary), float32.
        targets: The next tokens, (rows, tokens).
        counted: Which of them count, (rows, tokens).
        hidden: The output of the requested layer, (rows, tokens, width), float32.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor
    hidden: torch.Tensor | None = None

    @cached_property
    def log_probs(self) -> torch.Tensor:
        """The log-probability of each target, (rows, tokens)."""
        return token_log_probs(self.logits, self.targets)


def view(network: Any, batch: Batch, layer: int | None = None) -> View:
    """Return a network's view of a batch. `layer` counts decoder layers from 0.

    On a CUDA device the forward pass runs in bfloat16, as in training; on a CPU in float32, unless
    the caller uses torch.autocast.
    """
    device = batch.tokens.device.type
    bf16 = device == "cuda" or torch.is_autocast_enabled(device)
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        output = network(
            input_ids=batch.tokens,
            attention_mask=batch.mask,
            use_cache=False,
            output_hidden_states=layer is not None,
        )
    targets = batch.labels[:, 1:]
    return View(
        logits=output.logits[:, :-1].float(),
        targets=targets,
        counted=targets != IGNORED,
        hidden=None if layer is None else output.hidden_states[layer + 1][:, :-1].float(),
    )
