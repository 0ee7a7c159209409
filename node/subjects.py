"""Data subjects who asked to be forgotten: how the chain names them, and that their data is not used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rescind.daemon import Journal

ORGANIZATION = "organization"
"""In place of a commitment, where everything of an organization is taken back."""


def commit_subject(subject: str, salt: bytes) -> str:
    """SHA-256("rescind.subject/1|" || salt || UTF-8 of the name). The salt, of 32 bytes, stays private."""
    return hashlib.sha256(b"rescind.subject/1|" + salt + subject.encode()).hexdigest()


def request_key(commitment: str) -> str:
    """Where the journal keeps what was asked for; `commitment` empty for the whole organization."""
    return f"request/{commitment or ORGANIZATION}"


@dataclass(frozen=True)
class Withdrawn:
    """Whose withdrawal is on chain, as salted hashes: nothing is trained on their data any more."""

    salts: Mapping[str, bytes]

    @classmethod
    def of(cls, journal: Journal) -> Self:
        notes = journal.all("request/").items()
        return cls(
            {
                key.removeprefix("request/"): bytes.fromhex(it["salt"])
                for key, it in notes
                if it["salt"] and it["withdrawal"]
            }
        )

    def __contains__(self, subject: str) -> bool:
        return any(commit_subject(subject, salt) == it for it, salt in self.salts.items())

    @property
    def commitments(self) -> list[str]:
        return sorted(self.salts)


def forget_name(journal: Journal, commitment: str) -> None:
    """Once a withdrawal is over the salted hash is enough to know the subject by."""
    note = journal.get(request_key(commitment))
    if note is not None:
        journal.set(request_key(commitment), {**note, "subject": None})
