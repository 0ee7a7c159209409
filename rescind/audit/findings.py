"""Results of an auditor's checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rescind.core.errors import VerificationError
from rescind.withdrawals import StatementPart, Status

Figure = float | int | str | None


class NotAttested(VerificationError):
    """The evidence contradicts the chain, the artifacts or a measurement, so it is not signed."""

    code = "not-attested"


@dataclass(frozen=True)
class Finding:
    """The result of one check that did not fail.

    Attributes:
        name: Name of the check.
        status: "measured" where the auditor's tool compared or computed it, "stated" where it is
            the word of others, "skipped" where what it needs is not at hand.
        detail: What was found, whose word it is, or what is not at hand.
        figures: What was measured, with the limits.
        needed: Whether nothing is signed unless it is measured.
    """

    name: str
    status: Status
    detail: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    needed: bool = True

    @property
    def is_open(self) -> bool:
        """True if an auditor must accept explicitly that it was not measured."""
        return self.needed and self.status != "measured"

    def statement(self) -> StatementPart:
        """Return the finding as an attestation lists it."""
        return StatementPart(check=self.name, detail=self.detail, figures=dict(self.figures))


def statements(findings: Sequence[Finding]) -> dict[Status, tuple[StatementPart, ...]]:
    """Return what an attestation lists, by status."""
    every: tuple[Status, ...] = ("measured", "stated", "skipped")
    return {
        status: tuple(each.statement() for each in findings if each.status == status)
        for status in every
    }


def same(what: str, claimed: object, actual: object) -> None:
    """Compare a statement of the evidence with the truth.

    Raises:
        NotAttested: They differ.
    """
    if claimed != actual:
        raise NotAttested(f"{what}: the evidence has {claimed}, but it is {actual}")
