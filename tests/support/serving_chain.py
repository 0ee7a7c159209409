"""The public record of a consortium that a test scripts, as far as a server reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from rescind.contracts import ChainUnavailable

AURORA, BOREALIS = "0x" + "aa" * 20, "0x" + "bb" * 20
NAMES = {AURORA: "aurora", BOREALIS: "borealis"}


@dataclass
class ScriptedReader:
    """The public record of a consortium, as far as a server reads it."""

    head: int = 1
    stale: set[int] = field(default_factory=set)
    reaches: bool = True
    block: int = 100
    salt: str = ""

    @property
    def chain(self) -> ScriptedReader:
        return self

    @contextmanager
    def at_one_block(self) -> Iterator[int]:
        if not self.reaches:
            raise ChainUnavailable("http://localhost does not answer.")
        self.block += 1
        yield self.block

    def latest_model_id(self) -> int:
        return self.head

    def model_count(self) -> int:
        return self.head

    def commitments(self, number: int) -> tuple[str, ...]:
        return (f"{number}{self.salt}",)

    def is_stale(self, number: int) -> bool:
        return number in self.stale

    def content(self, model_id: int, part: int = 0) -> list[Any]:
        numbers = dict(zip(NAMES, range(2), strict=True))
        left = {name: n for name, n in numbers.items() if model_id < 2 or name != AURORA}
        return [
            SimpleNamespace(organization=o, member_number=n, part=part) for o, n in left.items()
        ]

    def members(self) -> list[Any]:
        return [SimpleNamespace(address=a, name=n) for a, n in NAMES.items()]


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds
