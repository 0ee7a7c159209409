"""Durable facts of a node's withdrawals and replays; see rescind.node.facts.

A `RequestFact` is written by `rescind withdraw request` too, which runs beside the daemon; it has a
key of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from rescind.core.errors import StoreError
from rescind.daemon import Journal
from rescind.node.facts import DeltaFact, Fact, RoundFacts

ORGANIZATION = "organization"
"""Stands in a request's key for the missing commitment when a whole organization withdraws."""


@dataclass(frozen=True)
class WithdrawalFacts(Fact):
    """The node's progress in a withdrawal.

    Attributes:
        withdrawal_id: The withdrawal's number on chain.
        recorded: Whether the ledger has the request.
        closed: Whether the ledger has the closing.
        given_up: Whether the node offers nothing, so that the withdrawal becomes a removal.
    """

    withdrawal_id: int
    recorded: bool = False
    closed: bool = False
    given_up: bool = False

    @property
    def key(self) -> str:
        return f"withdrawal/{self.withdrawal_id:06d}"

    @classmethod
    def load(cls, journal: Journal, withdrawal_id: int) -> Self:
        """Return the facts of a withdrawal; all empty if the node has done nothing for it."""
        empty = cls(withdrawal_id)
        return cls._load(journal, empty.key) or empty


@dataclass(frozen=True)
class OfferedDelta(Fact):
    """A delta that was trained for a withdrawal or a replay.

    Attributes:
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round that it replaces the delta of; 0 for a counter-delta.
        delta: The delta.
        report: What auditors see of its training.
        unchanged: Whether it equals the delta that is registered already.
        deposited: Whether the aggregator has it.
    """

    PREFIX: ClassVar[str] = "retrained/"

    offer_id: int
    round_id: int
    delta: DeltaFact
    report: Mapping[str, Any]
    unchanged: bool = False
    deposited: bool = False

    @property
    def key(self) -> str:
        return self._key(self.offer_id, self.round_id)

    @classmethod
    def _key(cls, offer_id: int, round_id: int) -> str:
        return f"{cls.PREFIX}{offer_id:06d}/{round_id:06d}"

    @classmethod
    def find(cls, journal: Journal, offer_id: int, round_id: int) -> Self | None:
        """Return the delta for a withdrawal or replay; None if it was not trained yet."""
        return cls._load(journal, cls._key(offer_id, round_id))

    @classmethod
    def load(cls, journal: Journal, offer_id: int, round_id: int) -> Self:
        """Return the delta for a withdrawal or replay.

        Raises:
            StoreError: It was not trained yet.
        """
        fact = cls.find(journal, offer_id, round_id)
        if fact is None:
            raise StoreError(
                f"the node's journal has no delta for offer {offer_id}, round {round_id}"
            )
        return fact

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every delta that was trained for a withdrawal or a replay."""
        return cls._load_all(journal, cls.PREFIX)


@dataclass(frozen=True)
class ReplayPaid(Fact):
    """A replay for whose rounds the node has taken its pay."""

    PREFIX: ClassVar[str] = "replay-paid/"

    replay_id: int

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.replay_id}"

    @classmethod
    def ids(cls, journal: Journal) -> frozenset[int]:
        """Return the replays that are paid."""
        return frozenset(fact.replay_id for fact in cls._load_all(journal, cls.PREFIX))


def own_artifacts(journal: Journal, *, rounds_only: bool = False) -> dict[str, str]:
    """Return the artifact ids of all that the node contributed or offered, by the hash of its point.

    Args:
        journal: The node's journal.
        rounds_only: Leave out what was trained for withdrawals and replays.
    """
    updates = [facts.update.delta for facts in RoundFacts.all(journal) if facts.update]
    offered = [] if rounds_only else [fact.delta for fact in OfferedDelta.all(journal)]
    return {
        point: artifact
        for delta in [*updates, *offered]
        for point, artifact in delta.artifacts.items()
    }


@dataclass(frozen=True)
class RequestFact(Fact):
    """A withdrawal that this organization requested.

    Attributes:
        commitment: The data subject's salted hash; empty for the whole organization.
        method: A `WithdrawalMethod` value.
        subject: The data subject's name; None for the organization, and once the withdrawal is
            over.
        salt: Salt of the commitment, hexadecimal; None for the organization.
        counter_method: Name of the unlearning method of a counter-training.
        settings: The method's settings that are not its defaults.
        retain: File of pairs to keep.
        withdrawal: The number on chain; None until the transaction is on chain.
        retain_id: SHA-256 of the pairs in that file, as they were checked; empty in a journal of an
            earlier version.
    """

    PREFIX: ClassVar[str] = "request/"

    commitment: str
    method: str
    subject: str | None = None
    salt: str | None = None
    counter_method: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    retain: str | None = None
    withdrawal: int | None = None
    retain_id: str = ""

    @property
    def key(self) -> str:
        return self._key(self.commitment)

    @classmethod
    def _key(cls, commitment: str) -> str:
        return f"{cls.PREFIX}{commitment or ORGANIZATION}"

    @classmethod
    def find(cls, journal: Journal, commitment: str) -> Self | None:
        """Return the latest request for a data subject, or with "" for the whole organization."""
        return cls._load(journal, cls._key(commitment))

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every request."""
        return cls._load_all(journal, cls.PREFIX)
