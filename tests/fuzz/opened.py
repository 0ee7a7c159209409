"""Adapters with their openings: nothing but the sum of the registered points may pass."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from rescind.core import (
    SHARED,
    Opening,
    check_opened,
    commit,
    decode,
    decode_openings,
    digest,
    encode,
    encode_openings,
    weighted_sum,
)
from rescind.core.errors import RescindError
from rescind.core.linear_digest import PRIMES
from tests.fuzz.target import Target
from tests.ledger.fuzz import spoiled

_MOST_BYTES = 2**20


def targets() -> Iterator[Target]:
    rng = np.random.default_rng(0)
    yield _opened(
        {
            "layer.lora_A": rng.integers(-9, 9, (2, 8), dtype=np.int32),
            "layer.lora_B": rng.integers(-9, 9, (8, 2), dtype=np.int32),
        }
    )


def _opened(tensors: dict[str, np.ndarray]) -> Target:
    """An adapter with its opening, which nothing but the registered sum may pass.

    An input is the length of the adapter, the adapter and the opening.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    deltas = [
        {f"{SHARED}/{name}": (tensor * sign).astype(np.int32) for name, tensor in tensors.items()}
        for sign in (1, -2)
    ]
    weights = (3, 2)
    terms = [(commit(digest(each)), weight) for each, weight in zip(deltas, weights, strict=True)]
    adapter = weighted_sum(zip(deltas, weights, strict=True))
    opening = Opening.build(
        SHARED, [(digest(each), weight) for each, weight in zip(deltas, weights, strict=True)]
    )

    def packed(adapter_bytes: bytes, opening_bytes: bytes) -> bytes:
        return len(adapter_bytes).to_bytes(4, "little") + adapter_bytes + opening_bytes

    def parts(data: bytes) -> tuple[bytes, bytes]:
        length = 4 + int.from_bytes(data[:4], "little")
        return data[4:length], data[length:]

    def ask(data: bytes) -> tuple[bytes, bytes]:
        adapter_bytes, opening_bytes = parts(data)
        found = decode_openings(opening_bytes, max_bytes=_MOST_BYTES)
        if list(found) != [SHARED]:
            raise RescindError("no opening of the owner")
        held = decode(adapter_bytes, max_bytes=_MOST_BYTES)
        check_opened(found[SHARED], held, terms=terms, shapes=shapes, norm_bound=1e6)
        return adapter_bytes, opening_bytes

    def mutate(data: bytes, rng: random.Random) -> bytes:
        """Change one integer, of the adapter or the opening, and write both canonically."""
        if rng.random() < 0.2:
            return spoiled(data, rng)
        try:
            adapter_bytes, opening_bytes = parts(data)
            held = decode(adapter_bytes)
            words = decode_openings(opening_bytes)[SHARED].words
        except (RescindError, LookupError):
            return spoiled(data, rng)
        step = rng.choice((1, -1, 2**16, PRIMES[0], PRIMES[1], -PRIMES[0]))
        if rng.random() < 0.5:
            name = rng.choice(sorted(held))
            changed = held[name].astype(np.int64)
            changed.flat[rng.randrange(changed.size)] += step
            held[name] = changed
        else:
            place = rng.randrange(words.size)
            words[place] = np.uint64((int(words[place]) + step) % 2**64)
        return packed(encode(held), encode_openings([Opening.from_words(SHARED, words)]))

    seed = packed(encode(adapter), encode_openings([opening]))
    return Target("opened", [seed], ask, proves=True, mutate=mutate)
