"""Artifacts, openings, posted figures, statistics, agreed parameters: bytes named by their hash."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rescind.core import (
    ConsortiumParameters,
    Opening,
    decode,
    decode_openings,
    digest,
    encode,
    encode_openings,
    expected_delta,
)
from rescind.core.contributed import check_contributed
from rescind.core.posted import Posted, check_values
from rescind.core.posted import decode as decode_posted
from rescind.core.statistics_tensors import contributed_tensors
from tests.fuzz.target import Target
from tests.support.consortium import hybrid_parameters, micro_parameters

_MOST_BYTES = 2**20


def targets() -> Iterator[Target]:
    rng = np.random.default_rng(0)
    tensors = {
        "layer.lora_A": rng.integers(-9, 9, (2, 8), dtype=np.int32),
        "layer.lora_B": rng.integers(-9, 9, (8, 2), dtype=np.int64),
    }
    yield Target(
        "artifact",
        [encode(tensors), encode({})],
        lambda data: decode(data, max_bytes=_MOST_BYTES),
        canonical=encode,
    )
    opening = Opening.build("shared", [(digest(tensors), 3)])
    yield Target(
        "openings",
        [encode_openings([opening]), encode_openings([])],
        lambda data: decode_openings(data, max_bytes=_MOST_BYTES),
        canonical=lambda openings: encode_openings(openings.values()),
    )
    yield _statistics(hybrid_parameters())
    yield Target(
        "posted",
        [_fisher(rng).encode()],
        _posted,
        canonical=lambda posted: posted.encode(),
    )
    documents = [micro_parameters(), micro_parameters(federated=True), hybrid_parameters()]
    yield Target(
        "parameters",
        [each.canonical_bytes() for each in documents],
        ConsortiumParameters.parse,
        canonical=lambda parameters: parameters.canonical_bytes(),
    )


def _fisher(rng: np.random.Generator) -> Posted:
    """Return Fisher information as an organization posts it."""
    values = {name: rng.random((2, 8)).astype(np.float32) for name in ("a.lora_A", "b.lora_A")}
    return Posted(
        kind="fisher",
        base_model_id="ab" * 32,
        owner="0x" + "ab" * 20,
        point="cd" * 32,
        measure="nll",
        count=3,
        tensors=values,
    )


def _posted(data: bytes) -> Posted:
    posted = decode_posted(data, max_bytes=_MOST_BYTES)
    check_values(posted)
    return posted


def _statistics(parameters: ConsortiumParameters) -> Target:
    """Return the target of what an organization with two rows contributes."""
    agreed = parameters.statistics
    assert agreed is not None
    rows = agreed.tasks["desk"].collect(["My card is lost", "A wrong bill"], ["cards", "billing"])
    expected = expected_delta(parameters, "0x" + "ab" * 20, 1)

    def checked(data: bytes) -> dict[str, np.ndarray]:
        tensors = dict(decode(data, max_bytes=_MOST_BYTES, expected=expected))
        check_contributed(tensors, parameters, 1, 0)
        return tensors

    seed = encode(contributed_tensors(agreed, {"desk": rows}))
    return Target("statistics", [seed], checked, canonical=encode)
