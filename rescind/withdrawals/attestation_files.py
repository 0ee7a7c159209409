"""The files in which auditors hand their signatures over, of either kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from rescind.withdrawals.attestation import Attestation
from rescind.withdrawals.evidence import EvidenceUnreadable, first_problem
from rescind.withdrawals.round_attestation import RoundAttestation

_EITHER: TypeAdapter[Attestation | RoundAttestation] = TypeAdapter(
    Annotated[Attestation | RoundAttestation, Field(discriminator="format")]
)


def read_attestation(path: Path) -> Attestation | RoundAttestation:
    """Return the attestation of a withdrawal or of a round that a file holds.

    Raises:
        EvidenceUnreadable: The file cannot be read, or holds neither.
    """
    try:
        return _EITHER.validate_json(path.read_bytes())
    except OSError as error:
        raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise EvidenceUnreadable(
            f"{path} is not a valid attestation: {first_problem(error)}"
        ) from error
