"""All arrangements, by the names of the table's rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks.learning.arrangements import REPEATED, Arrangement, Learned
from benchmarks.learning.one_shot import ONE_SHOT
from benchmarks.learning.trainings import Setting

ARRANGEMENTS: Mapping[str, Arrangement] = {**REPEATED, **ONE_SHOT}


@contextmanager
def learned(name: str, it: Setting) -> Iterator[Learned]:
    """The base model is as it was afterwards."""
    found = ARRANGEMENTS[name](it)
    try:
        yield found
    finally:
        found.close()
