"""Data subjects who asked to be forgotten: how the chain names them, and that their data is not used."""

from __future__ import annotations

import hashlib

from protocol import Journal

ORGANIZATION = "organization"
"""In place of a commitment, where everything of an organization is taken back."""


def commit_subject(subject: str, salt: bytes) -> str:
    """SHA-256("rescind.subject/1|" || salt || UTF-8 of the name). The salt, of 32 bytes, stays private."""
    return hashlib.sha256(b"rescind.subject/1|" + salt + subject.encode()).hexdigest()


def request_key(commitment: str) -> str:
    """Where the journal keeps what was asked for; `commitment` empty for the whole organization."""
    return f"request/{commitment or ORGANIZATION}"


def withdrawn_subjects(journal: Journal) -> set[str]:
    """Whose withdrawal is on chain: nothing is trained on their data any more."""
    requests = journal.all("request/").values()
    return {it["subject"] for it in requests if it["subject"] and it["withdrawal"]}
