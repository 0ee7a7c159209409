"""Removal: the model without one organization, re-summed from the deltas that remain."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rescind.core import (
    Layout,
    Term,
    adapter_totals,
    artifact_id,
    encode,
    without,
)
from rescind.core.sums import Load


@dataclass(frozen=True)
class Removal:
    """`adapter`: canonical bytes of the new adapter; `seconds`: what the arithmetic took."""

    adapter: bytes
    adapter_id: str
    terms: tuple[Term, ...]
    seconds: float


def remove(terms: Sequence[Term], organization: str, layout: Layout, load: Load) -> Removal:
    """Sum what remains, in integers; nothing is subtracted, so nothing is left over."""
    began = time.monotonic()
    kept = without(terms, [organization], layout)
    adapter = encode(adapter_totals(kept, load))
    return Removal(adapter, artifact_id(adapter), tuple(kept), time.monotonic() - began)
