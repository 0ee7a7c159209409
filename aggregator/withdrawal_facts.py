"""Durable facts of the aggregator about withdrawals and replays; see `rescind.aggregator.facts`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from rescind.aggregator.facts import Mark
from rescind.contracts import Contribution, Withdrawal, WithdrawalMethod
from rescind.daemon import Journal, read_fact


@dataclass(frozen=True)
class ReplayStart(Mark):
    """The aggregator gave out an adapter as the start of a round of a replay."""

    replay_id: int
    round_id: int
    artifact_id: str

    @property
    def key(self) -> str:
        return f"start/{self.replay_id}/{self.round_id:06d}/{self.artifact_id}"


@dataclass(frozen=True)
class AttestationComplaint(Mark):
    """The aggregator has logged why it does not take an attestation file."""

    file: str
    reason: str

    @property
    def key(self) -> str:
        return f"attestation/{self.file}/{hashlib.sha256(self.reason.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Deposit:
    """A delta that an organization submitted for a withdrawal or a replay.

    Attributes:
        size: Bytes of the delta.
        report: Its training report.
        signature: The organization's signature of the submission, 0x and hexadecimal.
    """

    size: int
    report: dict[str, Any]
    signature: str

    @classmethod
    def load(cls, journal: Journal, offer: Contribution) -> Self | None:
        """Return the deposit of what was offered on chain, or None if it was not submitted yet."""
        value = journal.get(cls._key(offer))
        return None if value is None else read_fact(cls, value)

    def save(self, journal: Journal, offer: Contribution) -> None:
        """Record the deposit of what was offered on chain."""
        journal.set(self._key(offer), asdict(self))

    @staticmethod
    def _key(offer: Contribution) -> str:
        numbers = f"{offer.offer_id}/{offer.round_id:06d}"
        return f"deposit/{numbers}/{offer.organization}/{offer.parts.artifact_ids[0]}"


@dataclass(frozen=True)
class Depositor:
    """The organization that first submitted a delta for any withdrawal."""

    artifact_id: str
    organization: str

    @classmethod
    def load(cls, journal: Journal, artifact_id: str) -> Self | None:
        """Return the first depositor of a delta, or None."""
        value = journal.get(f"deposited-by/{artifact_id}")
        return None if value is None else cls(artifact_id, str(value))

    def save(self, journal: Journal) -> None:
        """Record the depositor."""
        journal.set(f"deposited-by/{self.artifact_id}", self.organization)


@dataclass(frozen=True)
class WithdrawalProgress:
    """A withdrawal whose effect the aggregator has begun to build.

    Attributes:
        withdrawal: Number of the withdrawal.
        organization: Who withdraws.
        method: Value of its `WithdrawalMethod`.
        adapter: The new adapter that was built last.
        began: Unix seconds of the request, by the chain's clock.
        arithmetic_seconds: Time that the last sum took.
        seconds: From `began` until the withdrawal was closed, by the chain's clock; None before.
    """

    withdrawal: int
    organization: str
    method: str
    adapter: str
    began: float
    arithmetic_seconds: float
    seconds: float | None = None

    @classmethod
    def load(cls, journal: Journal, withdrawal: Withdrawal) -> Self | None:
        """Return the progress of a withdrawal, or None if it was not begun."""
        value = journal.get(f"{withdrawal.method.value}/{withdrawal.id:06d}")
        return None if value is None else read_fact(cls, value)

    @classmethod
    def all(cls, journal: Journal, method: WithdrawalMethod) -> list[Self]:
        """Return the progress of all withdrawals by a method, by ascending number."""
        return [read_fact(cls, value) for value in journal.all(f"{method.value}/").values()]

    def save(self, journal: Journal) -> None:
        """Record the progress."""
        journal.set(f"{self.method}/{self.withdrawal:06d}", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return the fact as JSON, without `seconds` while the withdrawal is open."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class EvidenceFact:
    """The evidence that the aggregator wrote for a withdrawal.

    Attributes:
        evidence: SHA-256 of the document, which is in the store under this id.
        amendment: The amendment that the document is about.
        model_id: The model that it is about.
        commitments: Hash of that model's commitment for each part.
        file: Name of the file for auditors, in `evidence/` of the daemon's folder.
    """

    evidence: str
    amendment: int
    model_id: int
    commitments: Sequence[str]
    file: str

    @classmethod
    def load(cls, journal: Journal, withdrawal_id: int) -> Self | None:
        """Return the evidence of a withdrawal, or None if none was written."""
        value = journal.get(cls._key(withdrawal_id))
        return None if value is None else read_fact(cls, value)

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return all evidence that was written, by withdrawal."""
        return [read_fact(cls, value) for value in journal.all("evidence/").values()]

    def save(self, journal: Journal, withdrawal_id: int) -> None:
        """Record the evidence of a withdrawal."""
        journal.set(self._key(withdrawal_id), asdict(self))

    @staticmethod
    def _key(withdrawal_id: int) -> str:
        return f"evidence/{withdrawal_id:06d}"
