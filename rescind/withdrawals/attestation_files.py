"""The files in which auditors hand their signatures over, of either kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from rescind.withdrawals.attestation import Attestation
from rescind.withdrawals.round_attestation import RoundAttestation
from rescind.withdrawals.signed_file import read_statement

_EITHER: TypeAdapter[Attestation | RoundAttestation] = TypeAdapter(
    Annotated[Attestation | RoundAttestation, Field(discriminator="format")]
)


def read_attestation(path: Path) -> Attestation | RoundAttestation:
    """Return the attestation of a withdrawal or of a round that a file holds.

    Raises:
        EvidenceUnreadable: The file cannot be read, or holds neither.
    """
    return read_statement(path, _EITHER.validate_json)
