"""Durable facts of a node's training runs; see rescind.node.facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from rescind.daemon import Journal
from rescind.node.facts import Fact


@dataclass(frozen=True)
class RunNameKey(Fact):
    """The HMAC key of training runs' names, hexadecimal, 32 bytes."""

    KEY: ClassVar[str] = "engine/key"

    secret: str

    @property
    def key(self) -> str:
        return self.KEY

    @classmethod
    def find(cls, journal: Journal) -> Self | None:
        """Return the key; None if none was drawn yet."""
        return cls._load(journal, cls.KEY)


@dataclass(frozen=True)
class PrivateRun(Fact):
    """A private training run: the secret of its noise, and what it spent.

    Attributes:
        name: The run's name, from `rescind.node.engine.run_key`.
        round_id: The round that was trained.
        secret: Secret from which the noise is drawn, hexadecimal, 32 bytes.
        mechanism: Noise multiplier, sample rate and steps; None until the run is finished.
    """

    PREFIX: ClassVar[str] = "privacy/run/"

    name: str
    round_id: int
    secret: str
    mechanism: tuple[float, float, int] | None = None

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.name}"

    @classmethod
    def find(cls, journal: Journal, name: str) -> Self | None:
        """Return the run of a name; None if it was not begun."""
        return cls._load(journal, f"{cls.PREFIX}{name}")

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return all runs, by round and name."""
        runs = cls._load_all(journal, cls.PREFIX)
        return sorted(runs, key=lambda run: (run.round_id, run.name))
