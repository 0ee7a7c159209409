"""Salted commitments to data subjects, and the set of data subjects that were withdrawn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from rescind.core.names import canonical_name
from rescind.daemon import Journal
from rescind.node.withdrawal_facts import RequestFact


def commit_subject(subject: str, salt: bytes) -> str:
    """Return the commitment that names a data subject on chain.

    It is SHA-256("rescind.subject/1|" || salt || UTF-8 of the canonical name), hexadecimal.

    Args:
        subject: The data subject's name, in any form.
        salt: 32 bytes that stay private.

    Raises:
        NameInvalid: The name is not valid.
    """
    name = canonical_name(subject).encode()
    return hashlib.sha256(b"rescind.subject/1|" + salt + name).hexdigest()


@dataclass(frozen=True)
class Withdrawn:
    """The data subjects whose withdrawal is on chain. Their data is not trained on any more.

    Attributes:
        salts: The salt of each commitment.
    """

    salts: Mapping[str, bytes]

    @classmethod
    def of(cls, journal: Journal) -> Self:
        """Return the data subjects that were withdrawn, from the node's own records."""
        return cls(
            {
                request.commitment: bytes.fromhex(request.salt)
                for request in RequestFact.all(journal)
                if request.salt and request.withdrawal
            }
        )

    def __contains__(self, subject: str) -> bool:
        return any(
            commit_subject(subject, salt) == commitment for commitment, salt in self.salts.items()
        )

    @property
    def commitments(self) -> tuple[str, ...]:
        """The commitments, sorted."""
        return tuple(sorted(self.salts))


def forget_name(journal: Journal, commitment: str) -> None:
    """Delete a data subject's name from the journal.

    Once a withdrawal is over, the salted hash is enough to recognize the data subject by.
    """
    request = RequestFact.find(journal, commitment)
    if request is not None:
        replace(request, subject=None).save(journal)
