"""The pairs of each step's batch.

Every order is a function of its seed alone, so a run that continues from a checkpoint skips the
batches that it has trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

_POOL = 16
"""Batches in a pool that is sorted by length: enough for batches of like length, few enough that
the examples of a pass still mix."""


def shuffled(rows: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of `size` indices, cut from one permutation of all rows after another."""
    generator = np.random.default_rng(seed)
    pending: list[int] = []
    while True:
        while len(pending) < min(size, rows):
            pending += [int(index) for index in generator.permutation(rows)]
        yield pending[: min(size, rows)]
        pending = pending[min(size, rows) :]


def bucketed(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of rows of like length.

    As in `shuffled`, but pools of up to 16 batches are sorted by length before they are cut, and
    the batches of a pool come in random order. Every pair is still drawn once in each pass over the
    data.
    """
    rows, size = len(lengths), min(size, len(lengths))
    pool = size * max(1, min(_POOL, rows // size))
    generator = np.random.default_rng(seed)
    pending: list[int] = []
    while True:
        while len(pending) < pool:
            pending += [int(index) for index in generator.permutation(rows)]
        chosen = sorted(pending[:pool], key=lambda index: (lengths[index], index))
        pending = pending[pool:]
        batches = [chosen[start : start + size] for start in range(0, pool, size)]
        for number in generator.permutation(len(batches)):
            yield batches[number]


def poisson(rows: int, rate: float, secret: bytes) -> Iterator[list[int]]:
    """Yield batches that hold each pair with probability `rate`, independently. One may be empty.

    The draws come from the secret, because anyone who can repeat them knows which pairs were in a
    batch, and then sampling adds no privacy.
    """
    step = 0
    threshold = round(rate * 2**64)
    while True:
        text = b"rescind.sampling/1|" + secret + step.to_bytes(8, "big")
        words = np.frombuffer(hashlib.shake_256(text).digest(8 * rows), dtype="<u8")
        yield [index for index, word in enumerate(words.tolist()) if word < threshold]
        step += 1
