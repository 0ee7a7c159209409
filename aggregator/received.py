"""Artifacts that organizations sent, each with what it was sent for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from rescind.aggregator.facts import Published
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.uploads import Uploads
from rescind.core import StoreMissing
from rescind.daemon import Journal
from rescind.wire import NotHeld, SizedArtifact


@dataclass(frozen=True)
class ReceivedFact:
    """An artifact that an organization sent, with what it was submitted as.

    Attributes:
        artifact_id: SHA-256 of the artifact.
        organization: EIP-55 address of the sender.
        uses: What it was submitted as; empty if it is not used any more.
    """

    artifact_id: str
    organization: str
    uses: frozenset[str] = frozenset()

    @classmethod
    def load(cls, journal: Journal, artifact_id: str, organization: str) -> Self:
        """Return what an organization sent an artifact for; nothing if it did not send it."""
        uses = journal.get(f"received/{artifact_id}/{organization}", [])
        return cls(artifact_id, organization, frozenset(uses))

    @classmethod
    def of_artifact(cls, journal: Journal, artifact_id: str) -> list[Self]:
        """Return the facts of all organizations that sent an artifact."""
        prefix = f"received/{artifact_id}/"
        return [
            cls(artifact_id, key.removeprefix(prefix), frozenset(uses))
            for key, uses in journal.all(prefix).items()
        ]

    def used_as(self, use: str) -> Self:
        """Return the fact with one more use."""
        return type(self)(self.artifact_id, self.organization, self.uses | {use})

    def without(self, use: str) -> Self:
        """Return the fact without a use."""
        return type(self)(self.artifact_id, self.organization, self.uses - {use})

    def save(self, journal: Journal) -> None:
        """Record the uses."""
        key = f"received/{self.artifact_id}/{self.organization}"
        if self.uses:
            journal.set(key, sorted(self.uses))
        else:
            journal.delete(key)


class Received:
    """The artifacts that organizations sent, which the store keeps for them.

    An artifact is deleted only when no organization has a use for it any more. So no member that
    sends the same bytes, and takes them back, can delete what another sent.

    Args:
        session: The aggregator's session.
        uploads: Uploads in progress.
    """

    def __init__(self, session: AggregatorSession, uploads: Uploads) -> None:
        self._session, self._uploads = session, uploads
        self._lock = threading.Lock()

    def has(self, organization: str, artifact_id: str) -> bool:
        """Return whether an organization sent all of an artifact, and the store has it."""
        fact = ReceivedFact.load(self._session.journal, artifact_id, organization)
        return bool(fact.uses) and self._session.store.has(artifact_id)

    def read(self, organization: str, artifact_id: str, offset: int, length: int) -> bytes:
        """Return bytes of an artifact that an organization sent, for another upload of its own.

        Statistics of the same rows differ from those before in their hiding noise alone.

        Raises:
            NotHeld: The organization did not send it, or it is not kept any more.
        """
        if self.has(organization, artifact_id):
            with suppress(StoreMissing):  # It may be deleted between the two looks.
                return self._session.store.read(artifact_id, offset, length)[0]
        raise NotHeld(
            f"artifact {artifact_id} of {organization} is not kept here: send the piece itself"
        )

    def keep(self, organization: str, artifact: SizedArtifact, use: str) -> None:
        """Move a complete upload into the store; an artifact that came before gets one more use.

        Args:
            organization: EIP-55 address of the sender.
            artifact: What was uploaded.
            use: What the sender submits it as.

        Raises:
            BadMessage: Bytes are missing.
            WrongHash: The uploaded bytes are another artifact.
            StoreError: The artifact cannot be written.
        """
        artifact_id = artifact.artifact_id
        came_before = self.has(organization, artifact_id)
        path = None if came_before else self._uploads.finish(organization, artifact)
        # Recorded first, so that no release deletes the file in between.
        with self._lock:
            fact = ReceivedFact.load(self._session.journal, artifact_id, organization)
            fact.used_as(use).save(self._session.journal)
        if path is not None:
            try:
                self._session.store.adopt(path, artifact_id)
            except BaseException:
                self.release(organization, artifact_id, use)
                raise
        self._uploads.drop(organization, artifact_id)

    def release(self, organization: str, artifact_id: str, use: str) -> None:
        """Take a use of an artifact back, and delete the artifact with its last use."""
        journal = self._session.journal
        with self._lock:
            fact = ReceivedFact.load(journal, artifact_id, organization)
            if use not in fact.uses:
                return
            fact.without(use).save(journal)
            used = any(each.uses for each in ReceivedFact.of_artifact(journal, artifact_id))
            if not used and not Published(artifact_id).holds(journal):
                self._session.store.delete(artifact_id)

    def submit(
        self, organization: str, artifact: SizedArtifact, use: str, take: Callable[[], None]
    ) -> None:
        """Keep an artifact if it passes the checks of `take`; otherwise nothing of it stays.

        Args:
            organization: EIP-55 address of the sender.
            artifact: What was uploaded.
            use: What the sender submits it as.
            take: Checks the stored artifact and records the submission.
        """
        known = use in ReceivedFact.load(
            self._session.journal, artifact.artifact_id, organization
        ).uses and self.has(organization, artifact.artifact_id)
        self.keep(organization, artifact, use)
        try:
            take()
        except BaseException:
            # What was taken before stays taken.
            if not known:
                self.release(organization, artifact.artifact_id, use)
            raise
