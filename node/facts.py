"""Durable facts of a node, one dataclass for each kind of journal entry.

Keys start with the kind, and numbers in them have six digits, so that facts of one kind are read in
the order of their numbers. A fact is on the disk when `save` returns.

The facts of a round and of a withdrawal are written only by the node's daemon, one step at a time,
so a step may load one, change a field with `dataclasses.replace` and save it. Facts of withdrawals
are in rescind.node.withdrawal_facts, those of training runs in rescind.node.run_facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from rescind.agents import SIT_OUT, Action, Observation
from rescind.contracts import NO_MANIFEST, Parts
from rescind.core import point_hash
from rescind.core.errors import StoreError
from rescind.daemon import Journal, read_fact
from rescind.daemon import open_journal as open_daemon_journal

JOURNAL_VERSION = 4
"""Changes whenever a fact's fields change: a journal of another version is refused."""


def open_journal(state_dir: Path) -> Journal:
    """Open the journal of a node; create it if it is not there.

    Args:
        state_dir: The folder that the node's configuration names as `node.state_dir`.

    Raises:
        StoreError: The file is not a journal, or is a journal of another format.
    """
    return open_daemon_journal(state_dir, "node", JOURNAL_VERSION)


class Fact:
    """Base of frozen dataclasses that are stored as JSON under one key."""

    @property
    def key(self) -> str:
        """The journal key."""
        raise NotImplementedError

    def save(self, journal: Journal) -> None:
        """Write the fact to the disk, in place of an earlier one with its key."""
        # Every subclass is a dataclass.
        journal.set(self.key, asdict(self))  # type: ignore[call-overload]

    @classmethod
    def _parse(cls, value: Any) -> Self:
        return read_fact(cls, value)

    @classmethod
    def _load(cls, journal: Journal, key: str) -> Self | None:
        value = journal.get(key)
        return None if value is None else cls._parse(value)

    @classmethod
    def _load_all(cls, journal: Journal, prefix: str) -> list[Self]:
        return [cls._parse(value) for value in journal.all(prefix).values()]


@dataclass(frozen=True)
class Decision:
    """The agent's decision about a round.

    Attributes:
        action: What the node does in the round.
        why: The agent's reason, or why the round could not be trained.
        explored: Whether the agent explored at random.
        observation: What the agent saw.
    """

    action: Action
    why: str
    explored: bool
    observation: Observation

    def to_json(self) -> dict[str, Any]:
        """Return the decision as the ledger records it."""
        return {
            **asdict(self.action),
            "why": self.why,
            "explored": self.explored,
            "observation": asdict(self.observation),
        }


@dataclass(frozen=True)
class PartFact:
    """A further part of a contribution in the node's own store, such as the delta of shared ranks.

    Attributes:
        artifact: Artifact id of the part.
        point: Commitment of its digest, 128 bytes in hexadecimal.
    """

    artifact: str
    point: str

    @property
    def point_hash(self) -> str:
        """The hash of the point, by which the chain knows the part."""
        return point_hash(bytes.fromhex(self.point))


@dataclass(frozen=True)
class StatisticsFact(PartFact):
    """Statistics in the node's own store.

    Attributes:
        share: Share of the node's rows that are in them, 0 to 1.
    """

    share: float = 1.0


@dataclass(frozen=True)
class DeltaFact:
    """A delta in the node's own store, with what is contributed beside it.

    Attributes:
        artifact: Artifact id of the delta.
        point: Commitment of its digest, 128 bytes in hexadecimal.
        residual: File name of the rounding residual in the state folder.
        manifest_root: Commitment to the examples it was trained on; None for a counter-delta.
        manifest_salt: Salt of `data_hash`, hexadecimal.
        data_hash: Salted SHA-256 of all examples that could have been chosen, in their order.
        without: Commitments of the data subjects that were withdrawn before the training.
        statistics: The statistics, where the consortium agreed on them.
        shared: The delta of the shared ranks, in a split coupling; this one is of the private ranks.
    """

    artifact: str
    point: str
    residual: str
    manifest_root: str | None = None
    manifest_salt: str | None = None
    data_hash: str | None = None
    without: tuple[str, ...] = ()
    statistics: StatisticsFact | None = None
    shared: PartFact | None = None

    @property
    def point_hash(self) -> str:
        """The hash of the point, by which the chain knows the delta."""
        return point_hash(bytes.fromhex(self.point))

    @property
    def further(self) -> tuple[PartFact, ...]:
        """The parts of the contribution after the delta, in their order."""
        return tuple(each for each in (self.statistics, self.shared) if each is not None)

    @property
    def artifacts(self) -> dict[str, str]:
        """The artifact of each part, by the hash of its point."""
        every: tuple[DeltaFact | PartFact, ...] = (self, *self.further)
        return {each.point_hash: each.artifact for each in every}

    @property
    def parts(self) -> Parts:
        """The contribution as contracts take it."""
        every: tuple[DeltaFact | PartFact, ...] = (self, *self.further)
        return Parts(
            tuple(each.artifact for each in every),
            tuple(bytes.fromhex(each.point) for each in every),
            self.manifest_root or NO_MANIFEST,
        )


@dataclass(frozen=True)
class Update:
    """The delta that a node commits to, uploads and reveals in a round.

    Attributes:
        delta: The delta.
        salt: Salt of the commitment on chain, hexadecimal.
        nonce: Number of the signed upload of the first part, unique for the node. Each further part
            has the next one.
        fisher: Artifact id of the posted Fisher information, where the consortium asks for it.
    """

    delta: DeltaFact
    salt: str
    nonce: int
    fisher: str | None = None


@dataclass(frozen=True)
class Epsilon:
    """Privacy spent up to and including a round (`total`), and by the round itself (`added`)."""

    total: float
    added: float


@dataclass(frozen=True)
class RoundFacts(Fact):
    """The node's progress in a round. A field is None or False until its step is done.

    Attributes:
        round_id: The round's number, from 1.
        decision: The agent's decision.
        engine: Engine settings of the round's training, so that training again repeats them.
        update: The trained update.
        submitted: Whether the aggregator has the update.
        quality: Share of the node's own questions that the model after the round answers, 0 to 1.
        epsilon: Privacy spent.
        settled: Whether the round's reward is claimed, learned from and recorded.
    """

    PREFIX: ClassVar[str] = "round/"

    round_id: int
    decision: Decision | None = None
    engine: Mapping[str, Any] | None = None
    update: Update | None = None
    submitted: bool = False
    quality: float | None = None
    epsilon: Epsilon | None = None
    settled: bool = False

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.round_id:06d}"

    @classmethod
    def load(cls, journal: Journal, round_id: int) -> Self:
        """Return the facts of a round; all fields empty if the node has done nothing in it."""
        empty = cls(round_id)
        return cls._load(journal, empty.key) or empty

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return the facts of every round in which the node did something, in order."""
        return cls._load_all(journal, cls.PREFIX)

    @property
    def action(self) -> Action:
        """The node's action in the round; sitting out while nothing is decided."""
        return self.decision.action if self.decision else SIT_OUT

    def decided(self) -> Decision:
        """Return the decision of a round that was decided on.

        Raises:
            StoreError: The round was not decided on.
        """
        if self.decision is None:
            raise StoreError(f"the node's journal has no decision for round {self.round_id}")
        return self.decision

    def trained(self) -> Update:
        """Return the update of a round that was trained.

        Raises:
            StoreError: The round was not trained.
        """
        if self.update is None:
            raise StoreError(f"the node's journal has no update for round {self.round_id}")
        return self.update


def latest_quality(journal: Journal) -> float:
    """Return the model's quality after the latest round that was evaluated; 0 before any."""
    qualities = [facts.quality for facts in RoundFacts.all(journal) if facts.quality is not None]
    return qualities[-1] if qualities else 0.0


def next_nonce(journal: Journal) -> int:
    """Return the nonce of the next signed upload."""
    updates = [facts.update for facts in RoundFacts.all(journal) if facts.update]
    used = [update.nonce + len(update.delta.artifacts) for update in updates]
    return max(used, default=1)


@dataclass(frozen=True)
class AdoptedModel(Fact):
    """A model whose adapter was downloaded and opens to the points on chain.

    Attributes:
        model_id: The model's number.
        adapter_id: Artifact id of its adapter; empty where nothing is in the model.
        opening_id: Artifact id of its openings; empty where nothing is in the model.
        left_out: Owners whose tensors do not open, and are not used.
        commitments: Hash of the model's commitment for each part: after a reorganization a model of
            the same number may be another one.
    """

    PREFIX: ClassVar[str] = "model/"

    model_id: int
    adapter_id: str
    opening_id: str
    left_out: tuple[str, ...] = ()
    commitments: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.model_id:06d}"

    @classmethod
    def load(cls, journal: Journal, model_id: int) -> Self | None:
        """Return the fact of a model; None if the node has not adopted it."""
        return cls._load(journal, cls(model_id, "", "").key)

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every adopted model, by ascending number."""
        return cls._load_all(journal, cls.PREFIX)

    @classmethod
    def ids(cls, journal: Journal) -> frozenset[int]:
        """Return the numbers of all adopted models, with 0 for the base model alone."""
        return frozenset({0, *(fact.model_id for fact in cls._load_all(journal, cls.PREFIX))})


@dataclass(frozen=True)
class CheckedSum(Fact):
    """A round's sum of deltas that opens to the points on chain.

    Attributes:
        terms_key: `entries_key` of the summed entries.
        artifact: Artifact id of the sum.
    """

    PREFIX: ClassVar[str] = "round-sum/"

    terms_key: str
    artifact: str

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.terms_key}"

    @classmethod
    def find(cls, journal: Journal, terms_key: str) -> Self | None:
        """Return the sum of some terms; None if it was not checked yet."""
        return cls._load(journal, f"{cls.PREFIX}{terms_key}")

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every checked sum."""
        return cls._load_all(journal, cls.PREFIX)


@dataclass(frozen=True)
class Fetched(Fact):
    """Files that the node downloads: a model or a sum, with its openings.

    It is saved before the download, so that every file in the store that holds other members'
    contributions is on record, also one that is refused.

    Attributes:
        adapter_id: Artifact id of the tensors.
        opening_id: Artifact id of the openings.
        points: Hashes of the registered points that are to be in it.
    """

    PREFIX: ClassVar[str] = "fetched/"

    adapter_id: str
    opening_id: str
    points: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.adapter_id}/{self.opening_id}"

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return everything that was downloaded."""
        return cls._load_all(journal, cls.PREFIX)
