"""Erasures in the journal of a daemon, so that a crash forgets none and repeats none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Self

from rescind.daemon import Journal, read_fact
from rescind.withdrawals.erasure import Reason

_NAMED = 8
"""Kinds of erased files that a sentence names."""


@dataclass(frozen=True)
class Erasure:
    """Files that a daemon erased at one time after a closed withdrawal.

    It is saved before the first file is deleted, and again once the erasure is on record.

    Attributes:
        withdrawal_id: The withdrawal.
        number: Its place among the erasures for the withdrawal, from 1.
        files: What each file was, by artifact id.
        done: Whether the files are gone and the erasure is on record.
    """

    withdrawal_id: int
    number: int
    files: Mapping[str, str]
    done: bool = False

    PREFIX: ClassVar[str] = "erasure/"

    @classmethod
    def all(cls, journal: Journal) -> list[Self]:
        """Return every erasure, by withdrawal."""
        return [read_fact(cls, value) for value in journal.all(cls.PREFIX).values()]

    @classmethod
    def unfinished(cls, journal: Journal) -> list[Self]:
        """Return the erasures that a crash cut short."""
        return [each for each in cls.all(journal) if not each.done]

    @classmethod
    def begin(cls, journal: Journal, reasons: Mapping[str, Reason]) -> list[Self]:
        """Record that files will be erased, and return one erasure for each withdrawal.

        Args:
            journal: The daemon's journal.
            reasons: Why each file is to be erased, by artifact id.
        """
        by_withdrawal: dict[int, dict[str, str]] = {}
        for artifact, reason in sorted(reasons.items()):
            by_withdrawal.setdefault(reason.withdrawal_id, {})[artifact] = reason.what
        begun = []
        for withdrawal_id, files in sorted(by_withdrawal.items()):
            past = [each for each in cls.all(journal) if each.withdrawal_id == withdrawal_id]
            erasure = cls(withdrawal_id, len(past) + 1, files)
            erasure._save(journal)
            begun.append(erasure)
        return begun

    def finish(self, journal: Journal) -> None:
        """Record that the files are gone and the erasure is on record."""
        replace(self, done=True)._save(journal)

    def _save(self, journal: Journal) -> None:
        journal.set(f"{self.PREFIX}{self.withdrawal_id:06d}/{self.number:04d}", asdict(self))

    def sentence(self) -> str:
        """Return what was erased, in words; of many kinds of files the first ones."""
        kinds = list(dict.fromkeys(self.files.values()))
        more = f" and {len(kinds) - _NAMED} more" if len(kinds) > _NAMED else ""
        listed = "; ".join(kinds[:_NAMED])
        count = "1 file is" if len(self.files) == 1 else f"{len(self.files)} files are"
        return f"withdrawal {self.withdrawal_id} is closed: {count} erased: {listed}{more}"
