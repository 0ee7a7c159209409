"""Facts of both daemons' journals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from rescind.aggregator import facts as of_aggregator
from rescind.aggregator import withdrawal_facts as withdrawals_of_aggregator
from rescind.core.errors import RescindError
from rescind.core.json_text import parse_json
from rescind.daemon import read_fact
from rescind.node import facts as of_node
from rescind.node import withdrawal_facts as withdrawals_of_node
from tests.fuzz.target import Target

_FACTS = (of_node, withdrawals_of_node, of_aggregator, withdrawals_of_aggregator)


def targets() -> Iterator[Target]:
    """Every fact of both journals, tried on each value."""
    kinds = [
        kind
        for module in _FACTS
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind) and getattr(kind, "__module__", "") == module.__name__
    ]
    assert len(kinds) > 10

    def ask(data: bytes) -> list[Any]:
        try:
            value = parse_json(data)
        except ValueError as error:
            raise RescindError("not JSON") from error
        found = []
        for kind in kinds:
            try:
                found.append(read_fact(kind, value))
            except RescindError:
                continue
        if not found:
            raise RescindError("no fact")
        return found

    seed = b'{"model_id": 1, "adapter_id": "ab", "opening_id": "cd", "left_out": [], "commitments": []}'
    yield Target("journal-facts", [seed, b"{}"], ask)
