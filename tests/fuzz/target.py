"""A target of fuzzing: a parser or a proof, inputs that it takes, and what may never happen."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core.errors import RescindError
from tests.ledger.fuzz import spoiled

REFUSED = object()
"""The value of `Target.check` for an input that was refused."""


MEMORY = Path("/dev/shm")
"""Files in memory, on Linux: a target writes one for each input."""


def scratch(name: str) -> Path:
    """Return a new folder, which is deleted when the process ends."""
    parent = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix=f"rescind-fuzz-{name}-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class FalseYes(AssertionError):
    """A changed input was accepted, and says something else than the one that it was made from."""


@dataclass(frozen=True)
class Target:
    """A parser of what others send, or a proof that is checked.

    Attributes:
        name: The name on the command line.
        seeds: Inputs that are accepted.
        ask: Returns what an input states, or raises RescindError. Anything else is a crash.
        canonical: Returns the bytes of what `ask` returned. An accepted input must be these bytes,
            since its hash is its name.
        proves: Whether each accepted input must state what a seed states: it is signed, or its
            commitment is fixed.
        mutate: Returns a changed input; by default bytes are changed, or parts of JSON.
    """

    name: str
    seeds: Sequence[bytes]
    ask: Callable[[bytes], Any]
    canonical: Callable[[Any], bytes] | None = None
    proves: bool = False
    mutate: Callable[[bytes, random.Random], bytes] = spoiled

    def truths(self) -> list[Any]:
        """Return what the seeds state."""
        return [self.ask(seed) for seed in self.seeds]

    def check(self, data: bytes, truths: Sequence[Any]) -> Any:
        """Ask once.

        Returns:
            What the input states, or REFUSED.

        Raises:
            FalseYes: The input was accepted, and must not have been.
            Exception: The parser crashed.
        """
        try:
            stated = self.ask(data)
        except RescindError:
            return REFUSED
        if self.proves and not any(stated == truth for truth in truths):
            raise FalseYes(f"{self.name} accepted {data[:2000]!r}, which states {stated!r}")
        if self.canonical is not None and self.canonical(stated) != data:
            raise FalseYes(f"{self.name} accepted {data[:2000]!r}, which is not in canonical form")
        return stated
