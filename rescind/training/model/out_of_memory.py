"""Turn the several ways in which memory runs out into one error with advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rescind.core.errors import TrainingError

_PHRASES = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_failed",
)
"""Parts of the messages of torch, CUDA, cuBLAS and the system, lowercase."""

TRAINING_ADVICE = (
    "Set engine.micro_batch lower, engine.gradient_checkpointing = true or model.dtype = "
    '"bfloat16" in the daemon\'s TOML file, or use a smaller base model.'
)
ANSWERING_ADVICE = (
    'Set model.dtype = "bfloat16" in the daemon\'s TOML file, stop other programs on this machine, '
    "or use a smaller base model."
)


class OutOfMemory(TrainingError):
    """The machine or the GPU has not enough memory for the work."""


@contextmanager
def memory_explained(work: str, advice: str = ANSWERING_ADVICE) -> Iterator[None]:
    """Raise OutOfMemory where the block, or the decorated function, runs out of memory.

    Args:
        work: What the memory is for, such as "training".
        advice: What the user can do.

    Raises:
        OutOfMemory: The memory is not enough. Cached memory of a GPU is given back.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _ran_out(error):
            raise
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise OutOfMemory(f"Not enough memory for {work}: {first.rstrip('.')}. {advice}") from error


def _ran_out(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return any(phrase in text for phrase in _PHRASES)
