"""Which pairs make up the batch of each step. Every order is a function of its seed alone, so that a
run that is taken up again skips the batches that it has had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

_POOL = 16


def shuffled(rows: int, size: int, seed: int) -> Iterator[list[int]]:
    """Whole permutations of the places, one after the other, cut into batches of `size`."""
    generator = np.random.default_rng(seed)
    pending: list[int] = []
    while True:
        while len(pending) < min(size, rows):
            pending += [int(place) for place in generator.permutation(rows)]
        yield pending[: min(size, rows)]
        pending = pending[min(size, rows) :]


def bucketed(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """As `shuffled`, but pools of up to 16 batches are sorted by length before they are cut, and their
    batches come in random order. Every pair is still drawn once in each pass over the data."""
    rows, size = len(lengths), min(size, len(lengths))
    pool = size * max(1, min(_POOL, rows // size))
    generator = np.random.default_rng(seed)
    pending: list[int] = []
    while True:
        while len(pending) < pool:
            pending += [int(place) for place in generator.permutation(rows)]
        chosen = sorted(pending[:pool], key=lambda place: (lengths[place], place))
        pending = pending[pool:]
        batches = [chosen[start : start + size] for start in range(0, pool, size)]
        for number in generator.permutation(len(batches)):
            yield batches[number]


def poisson(rows: int, rate: float, secret: bytes) -> Iterator[list[int]]:
    """Each pair is in each batch with probability `rate`, independently; a batch may be empty.

    The draws come from the secret: whoever can repeat them gains nothing from the sampling.
    """
    step = 0
    threshold = round(rate * 2**64)
    while True:
        text = b"rescind.sampling/1|" + secret + step.to_bytes(8, "big")
        words = np.frombuffer(hashlib.shake_256(text).digest(8 * rows), dtype="<u8")
        yield [place for place, word in enumerate(words.tolist()) if word < threshold]
        step += 1
