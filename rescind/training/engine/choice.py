"""The examples of a round: a seeded choice, the same for training and for statistics. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from rescind.training.data import Example


def round_seed(seed: int, organization: str, round_id: int) -> int:
    """Return the seed of one organization's training in one round: 63 bits of SHA-256."""
    text = f"rescind.training/1|{seed}|{organization.lower()}|{round_id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def choose(examples: Sequence[Example], fraction: float, seed: int) -> list[Example]:
    """Return a seeded choice of at least one example, in the order of the file."""
    count = max(1, round(len(examples) * fraction))
    indices = np.random.default_rng(seed).permutation(len(examples))[:count]
    return [examples[index] for index in sorted(indices)]
