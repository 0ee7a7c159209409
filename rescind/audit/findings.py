"""Results of an auditor's checks."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.core.errors import VerificationError


class NotAttested(VerificationError):
    """The evidence contradicts the chain or the artifacts, so it is not signed."""

    code = "not-attested"


@dataclass(frozen=True)
class Finding:
    """The result of one check that did not fail.

    Attributes:
        name: Name of the check.
        made: Whether it was made; False if what it needs was not available.
        detail: What was found, or what was not available.
    """

    name: str
    made: bool
    detail: str


def same(what: str, claimed: object, actual: object) -> None:
    """Compare a statement of the evidence with the truth.

    Raises:
        NotAttested: They differ.
    """
    if claimed != actual:
        raise NotAttested(f"{what}: the evidence has {claimed}, but it is {actual}")
