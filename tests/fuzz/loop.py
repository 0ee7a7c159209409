"""Mutated inputs by number, without coverage: the same number always gives the same input."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz.target import REFUSED, Target


def mutated(target: Target, number: int) -> bytes:
    """Return an input, made from one of the target's seeds."""
    rng = random.Random(f"{target.name} {number}")
    data = rng.choice(target.seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = target.mutate(data, rng)
    return data


def run_plain(
    target: Target,
    start: int,
    count: int,
    *,
    seen: Callable[[int, bytes, bool], None] = lambda *_: None,
) -> int:
    """Try inputs by their numbers.

    Args:
        target: What to fuzz.
        start: Number of the first input.
        count: How many.
        seen: Called after each input with its number, the input and whether it was refused.

    Returns:
        How many were refused.

    Raises:
        FalseYes: One was accepted, and must not have been.
        Exception: The parser crashed.
    """
    truths = target.truths() if target.proves else []
    refused = 0
    for number in range(start, start + count):
        data = mutated(target, number)
        is_refused = target.check(data, truths) is REFUSED
        refused += is_refused
        seen(number, data, is_refused)
    return refused
