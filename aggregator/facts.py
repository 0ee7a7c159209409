"""Durable facts of the aggregator, one class for each kind of journal entry.

Keys start with the kind, and numbers in them have six digits, so that facts of one kind are read in
the order of their numbers. A fact is on the disk when `save` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

from rescind.core import Term, sum_key
from rescind.daemon import Journal
from rescind.daemon import open_journal as open_daemon_journal

JOURNAL_VERSION = 4
"""Changes whenever a fact's key or fields change: a journal of another version is refused."""


def open_journal(state_dir: Path) -> Journal:
    """Open the journal of an aggregator; create it if it is not there.

    Args:
        state_dir: The folder that the configuration names as `aggregator.state_dir`.

    Raises:
        StoreError: The file is not a journal, or is a journal of another format.
    """
    return open_daemon_journal(state_dir, "aggregator", JOURNAL_VERSION)


class Mark:
    """A fact that holds or does not; it has a key and no value."""

    @property
    def key(self) -> str:
        raise NotImplementedError

    def save(self, journal: Journal) -> None:
        """Record that the fact holds."""
        journal.set(self.key, True)

    def holds(self, journal: Journal) -> bool:
        """Return whether the fact was recorded."""
        return bool(journal.get(self.key, False))

    def delete(self, journal: Journal) -> None:
        """Record that the fact holds no longer."""
        journal.delete(self.key)


@dataclass(frozen=True)
class BondPosted(Mark):
    """The aggregator has paid its bond once; the daemon does not pay a slashed bond again."""

    @property
    def key(self) -> str:
        return "bonded"


@dataclass(frozen=True)
class Published(Mark):
    """Members may download an artifact."""

    artifact_id: str

    PREFIX: ClassVar[str] = "published/"

    @property
    def key(self) -> str:
        return f"{self.PREFIX}{self.artifact_id}"

    @classmethod
    def all(cls, journal: Journal) -> Iterator[Self]:
        """Yield the published artifacts, by ascending id."""
        for key in journal.all(cls.PREFIX):
            yield cls(key.removeprefix(cls.PREFIX))


@dataclass(frozen=True)
class Submission(Mark):
    """An organization submitted an artifact as one part of its update of a round."""

    round_id: int
    organization: str
    artifact_id: str
    part: int = 0

    PREFIX: ClassVar[str] = "submission/"

    @property
    def key(self) -> str:
        place = f"{self.PREFIX}{self.round_id:06d}/{self.organization}"
        return f"{place}/{self.artifact_id}/{self.part}"

    @classmethod
    def all(cls, journal: Journal) -> Iterator[Self]:
        """Yield every submission, by ascending round."""
        for key in journal.all(cls.PREFIX):
            round_id, organization, artifact_id, part = key.removeprefix(cls.PREFIX).split("/")
            yield cls(int(round_id), organization, artifact_id, int(part))

    @classmethod
    def of_round(cls, journal: Journal, round_id: int) -> list[Self]:
        """Return what organizations submitted in a round and did not replace."""
        return [
            cls(round_id, organization, artifact_id, int(part))
            for key in journal.all(f"{cls.PREFIX}{round_id:06d}/")
            for organization, artifact_id, part in [key.split("/")[2:]]
        ]


@dataclass(frozen=True)
class TidiedRound(Mark):
    """The submissions of a round that is over, and were not revealed, are deleted."""

    round_id: int

    @property
    def key(self) -> str:
        return f"tidied/{self.round_id:06d}"


@dataclass(frozen=True)
class AnsweredQuestions:
    """The benchmark's questions that the heads of a model answered right, up to a round.

    They outlast a removal: a question is paid for once. See `rescind.aggregator.statistics_scoring`.

    Attributes:
        round_id: The round; its model and all before it count.
        questions: Ids of the questions, in ascending order.
    """

    round_id: int
    questions: Sequence[str]

    PREFIX: ClassVar[str] = "answered/"

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return what was recorded, by ascending round."""
        return [cls(**value) for value in journal.all(cls.PREFIX).values()]

    @classmethod
    def before(
        cls, journal: Journal, round_id: int, is_final: Callable[[int], bool]
    ) -> Self | None:
        """Return what was recorded in the last final round before another, or None.

        A round that was abandoned has no model and was not paid, so it does not count. A round that
        is judged again after a crash does not count itself.

        Args:
            journal: The aggregator's journal.
            round_id: The other round.
            is_final: Says whether a round is final.
        """
        earlier = [fact for fact in cls.all(journal) if fact.round_id < round_id]
        return next((fact for fact in reversed(earlier) if is_final(fact.round_id)), None)

    def save(self, journal: Journal) -> None:
        """Record the questions."""
        journal.set(self._key, asdict(self))

    def delete_earlier(self, journal: Journal) -> None:
        """Delete the records of earlier rounds, whose questions are among those of this one."""
        for fact in self.all(journal):
            if fact.round_id < self.round_id:
                journal.delete(fact._key)

    @property
    def _key(self) -> str:
        return f"{self.PREFIX}{self.round_id:06d}"


@dataclass(frozen=True)
class ModelFact:
    """The files that the aggregator built for a model.

    Attributes:
        model_id: Number of the model.
        commitments: Hash of its commitment for each part: a model of the same number with others
            is another model.
        adapter_id: Its adapter; empty if it cannot be built.
        opening_id: Its openings; empty as `adapter_id`.
        missing: Contributions that were not in the store, so that their owners are left out.
        problem: Why the model cannot be built, or who is left out of it and why; empty if it is
            complete.
        published: Whether the aggregator has said on chain that these files are the model.
        former: Files that were built for the model before these.
    """

    model_id: int
    commitments: Sequence[str]
    adapter_id: str
    opening_id: str
    missing: Sequence[str] = ()
    problem: str = ""
    published: bool = False
    former: Sequence[str] = ()

    PREFIX: ClassVar[str] = "model/"

    @property
    def files(self) -> frozenset[str]:
        """Every file that was built for the model, now or before."""
        return frozenset({self.adapter_id, self.opening_id, *self.former} - {""})

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return what was built for every model, by ascending number."""
        return [cls(**value) for value in journal.all(cls.PREFIX).values()]

    @classmethod
    def built(cls, journal: Journal, model_id: int) -> frozenset[str]:
        """Return every file that was built for a model of a number, whatever its commitments."""
        value = journal.get(cls._key(model_id))
        return frozenset() if value is None else cls(**value).files

    @classmethod
    def load(cls, journal: Journal, model_id: int, commitments: Sequence[str]) -> Self | None:
        """Return the files of the model with a number and commitments, or None before."""
        value = journal.get(cls._key(model_id))
        if value is None or list(value["commitments"]) != list(commitments):
            return None
        return cls(**value)

    def save(self, journal: Journal) -> None:
        """Record the files."""
        journal.set(self._key(self.model_id), asdict(self))

    @staticmethod
    def _key(model_id: int) -> str:
        return f"{ModelFact.PREFIX}{model_id:06d}"


@dataclass(frozen=True)
class Nonces:
    """The nonces that an organization has used, each with the round and artifact it signed."""

    organization: str
    used: Mapping[int, tuple[int, str]]

    @classmethod
    def load(cls, journal: Journal, organization: str) -> Self:
        """Return the nonces of an organization; empty if it has used none."""
        entries = journal.get(f"nonces/{organization}", {})
        used = {int(nonce): (int(entry[0]), str(entry[1])) for nonce, entry in entries.items()}
        return cls(organization, used)

    def save(self, journal: Journal) -> None:
        """Record the nonces."""
        entries = {str(nonce): list(entry) for nonce, entry in self.used.items()}
        journal.set(f"nonces/{self.organization}", entries)

    def use(self, nonce: int, round_id: int, artifact_id: str) -> Self:
        """Return the nonces with one more."""
        return type(self)(self.organization, {**self.used, nonce: (round_id, artifact_id)})


@dataclass(frozen=True)
class SumFact:
    """The files of the sum of some terms: of one round, or of the start of a replayed round.

    Attributes:
        terms_key: `rescind.core.sum_key` of the terms.
        adapter_id: The sum.
        opening_id: Its opening.
        points: Hashes of the registered points in it; None in a journal of an earlier version.
    """

    terms_key: str
    adapter_id: str
    opening_id: str
    points: Sequence[str] | None = None

    PREFIX: ClassVar[str] = "sum/"

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every sum."""
        return [cls(**value) for value in journal.all(cls.PREFIX).values()]

    @classmethod
    def load(cls, journal: Journal, terms: Sequence[Term]) -> Self | None:
        """Return the files of the sum of these terms, or None if it was not computed yet."""
        value = journal.get(f"{cls.PREFIX}{sum_key(terms)}")
        return None if value is None else cls(**value)

    def save(self, journal: Journal) -> None:
        """Record the files."""
        journal.set(f"{self.PREFIX}{self.terms_key}", asdict(self))


@dataclass(frozen=True)
class PostedFisher:
    """The Fisher that an organization posted with its update of a round."""

    round_id: int
    organization: str
    artifact_id: str

    PREFIX: ClassVar[str] = "fisher/"

    @classmethod
    def all(cls, journal: Journal) -> Iterator[Self]:
        """Yield every posted Fisher, by ascending round."""
        for key, artifact_id in journal.all(cls.PREFIX).items():
            round_id, organization = key.removeprefix(cls.PREFIX).split("/")
            yield cls(int(round_id), organization, str(artifact_id))

    @classmethod
    def load(cls, journal: Journal, round_id: int, organization: str) -> Self | None:
        """Return an organization's Fisher of a round, or None if it posted none."""
        value = journal.get(cls._key(round_id, organization))
        return None if value is None else cls(round_id, organization, str(value))

    def save(self, journal: Journal) -> None:
        """Record the Fisher."""
        journal.set(self._key(self.round_id, self.organization), self.artifact_id)

    @staticmethod
    def _key(round_id: int, organization: str) -> str:
        return f"{PostedFisher.PREFIX}{round_id:06d}/{organization}"


@dataclass(frozen=True)
class MeanFisher:
    """A published mean of Fishers.

    Attributes:
        artifact_id: The mean.
        sources: Artifact ids of the Fishers in it.
    """

    artifact_id: str
    sources: Sequence[str]

    PREFIX: ClassVar[str] = "mean-fisher/"

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every mean that was published."""
        return [cls(**value) for value in journal.all(cls.PREFIX).values()]

    def save(self, journal: Journal) -> None:
        """Record the mean."""
        journal.set(f"{self.PREFIX}{self.artifact_id}", asdict(self))
