"""A few steps of training on made-up pairs, to say how long one takes here and how much memory."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from rescind.core import ConsortiumParameters
from rescind.training.data import Example
from rescind.training.engine.round import Progress, RoundTraining
from rescind.training.engine.settings import EngineSettings
from rescind.training.engine.train import train_round
from rescind.training.model.lora import LoraModel

_STEPS = 3
_LONG_SECONDS = 30.0
"""A step that takes this long is measured once."""
_SENTENCE = "The quick brown fox jumps over the lazy dog and rests by the old stone bridge. "


@dataclass(frozen=True)
class Trial:
    """A measured step of training.

    Attributes:
        seconds: Of one step; the fastest of those measured.
        pairs: In a step.
        tokens: Of a pair.
        peak_bytes: The most memory that this process has had so far: of the machine, or of the GPU.
    """

    seconds: float
    pairs: int
    tokens: int
    peak_bytes: int


class _Enough(Exception):
    """Ends a trial whose steps are long."""


def measure_step(
    model: LoraModel, parameters: ConsortiumParameters, settings: EngineSettings, tokens: int
) -> Trial:
    """Train a few steps on made-up pairs and return what one step takes.

    Args:
        model: The base model with the agreed LoRA.
        parameters: Give the batch size and the longest pair.
        settings: How this machine trains.
        tokens: About how many tokens a pair has.

    Raises:
        TrainingError: The model cannot be trained like this.
    """
    training = parameters.training
    example = Example("Which animal jumps?", _text(model, tokens), "a made-up person")
    ends = [time.monotonic()]

    def progress(_: Progress) -> None:
        ends.append(time.monotonic())
        if ends[-1] - ends[-2] > _LONG_SECONDS:
            raise _Enough

    start = {name: _small(shape, name) for name, shape in model.shapes.items()}
    if model.base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.base.device)
    plan = RoundTraining(steps=_STEPS, settings=settings, progress=progress)
    with suppress(_Enough):
        train_round(model, parameters, start, [example] * training.batch_size, plan)
    steps = [after - before for before, after in pairwise(ends)]
    return Trial(
        min(steps[1:] or steps), training.batch_size, tokens, peak_bytes(model.base.device)
    )


def peak_bytes(device: torch.device) -> int:
    """Return the most memory that this process has had: of the GPU, or of the machine for a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _text(model: LoraModel, tokens: int) -> str:
    """Return text of about so many tokens, the question left out of account."""
    encode = model.base.tokenizer.encode
    each = max(1, len(encode(_SENTENCE, add_special_tokens=False)))
    return _SENTENCE * max(
        1, (tokens - len(encode("Question: Which animal jumps?\nAnswer:"))) // each
    )


def _small(shape: tuple[int, ...], name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if name.endswith(".lora_B"):
        return np.zeros(shape, dtype=np.float32)
    return np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)
