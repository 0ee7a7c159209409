"""The course of an erasure, which both daemons share: what is due, and what a crash left."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from rescind.contracts import ConsortiumReader, Withdrawal
from rescind.daemon import Journal
from rescind.withdrawals.erasure import Reason
from rescind.withdrawals.erasure_facts import signature
from rescind.withdrawals.erasure_journal import Erasure


class Erasing(ABC):
    """Erases what `to_erase` names from everything that a daemon keeps.

    An `Erasure` is in the journal before the first file is deleted. After a crash it is finished
    first, so nothing is forgotten, and nothing is reported twice.

    Args:
        consortium: The public record.
        journal: The daemon's journal.
    """

    def __init__(self, consortium: ConsortiumReader, journal: Journal) -> None:
        self._consortium, self._journal = consortium, journal
        self._seen: tuple[Any, ...] | None = None
        self._due = False

    def due(self, withdrawals: Collection[Withdrawal]) -> bool:
        """Return whether there is something to erase.

        The chain is read again only when something has changed that an erasure depends on.

        Args:
            withdrawals: Every withdrawal.
        """
        if self._keeps:
            return False
        seen = signature(self._consortium, withdrawals)
        if seen != self._seen:
            unfinished = Erasure.unfinished(self._journal)
            self._due = bool(seen) and bool(unfinished or self._found())
            self._seen = seen
        return self._due

    def erase(self) -> None:
        """Erase what is due, and record it for each withdrawal."""
        for erasure in Erasure.unfinished(self._journal):
            self._resume(erasure)
        for erasure in Erasure.begin(self._journal, self._found()):
            self._finish(erasure)
        self._seen = None

    @property
    @abstractmethod
    def _keeps(self) -> bool:
        """True if the daemon is configured to keep what was withdrawn."""

    @abstractmethod
    def _found(self) -> Mapping[str, Reason]:
        """Return what is to be erased and is still here, by artifact id."""

    @abstractmethod
    def _finish(self, erasure: Erasure) -> None:
        """Delete the files of an erasure, and record it."""

    def _resume(self, erasure: Erasure) -> None:
        """Finish an erasure that a crash cut short, and that may be on record already."""
        self._finish(erasure)
