"""What the aggregator says of a replay or a counter-training, for auditors to attest.

Canonical JSON; the SHA-256 of its bytes goes on chain with the auditors' signatures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rescind.contracts import Address
from rescind.core import Term
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import VerificationError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Method = Literal["replay", "counter-training"]
MOST_REPORT_BYTES = 2**16

FIGURES: Mapping[str, frozenset[str]] = {
    "replay": frozenset({"start", "seed", "steps", "examples", "first_loss", "last_loss"}),
    "counter-training": frozenset({"start", "seed", "method", "verdict"}),
}
"""What an organization's report of one delta must say, by the withdrawal's method."""


class EvidenceUnreadable(VerificationError):
    code = "evidence-unreadable"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourcePart(Part):
    """The model whose place is taken."""

    model_id: int
    adapter_id: Sha256
    digest_root: Sha256


class TermPart(Part):
    """One delta in a model. `digest_root`: Merkle root of its linear digest. Round 0: a counter-delta."""

    round_id: int
    organization: Address
    artifact_id: Sha256
    digest_root: Sha256
    weight: int

    @classmethod
    def of(cls, term: Term) -> Self:
        return cls(
            round_id=term.round_id,
            organization=term.organization,
            artifact_id=term.artifact_id,
            digest_root=term.digest_root,
            weight=term.weight,
        )

    def term(self) -> Term:
        return Term(
            self.round_id, self.organization, self.artifact_id, self.weight, self.digest_root
        )


class OfferedPart(Part):
    """One delta that was registered for the withdrawal. `size` in bytes; `report`: what its
    organization says of the training; `signature`: EIP-712 over both; `norm`: L2, in parameter units,
    measured by the aggregator."""

    round_id: int
    organization: Address
    artifact_id: Sha256
    digest_root: Sha256
    size: int
    report: dict[str, Any]
    signature: str
    norm: float


class EvidenceDocument(Part):
    """`change_norm`: L2 of the new adapter less the old one, in parameter units."""

    format: Literal["rescind.evidence/1"] = "rescind.evidence/1"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    method: Method
    organization: Address
    subject: str
    coupling: Literal["isolated", "federated"]
    source: SourcePart
    adapter_id: Sha256
    digest_root: Sha256
    terms: tuple[TermPart, ...]
    offered: tuple[OfferedPart, ...]
    change_norm: float

    def canonical_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def parse(cls, data: bytes, name: str = "evidence") -> Self:
        """Raises EvidenceUnreadable for anything but the canonical bytes of a document."""
        try:
            found = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise EvidenceUnreadable(f"{name} is no evidence: {where}: {first['msg']}") from error
        if found.canonical_bytes() != data:
            raise EvidenceUnreadable(f"{name} is not in canonical form: its bytes were changed")
        return found

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error


def read_report(data: bytes) -> dict[str, Any]:
    """Raises EvidenceUnreadable unless it is a canonical JSON object of 64 KiB at most."""
    if len(data) > MOST_REPORT_BYTES:
        raise EvidenceUnreadable(
            f"a report of {len(data)} bytes, at most {MOST_REPORT_BYTES} are accepted"
        )
    try:
        found = json.loads(data)
        canonical = canonical_json(found)
    except (ValueError, RecursionError) as error:
        raise EvidenceUnreadable(f"the report is not JSON: {error}") from error
    if not isinstance(found, dict) or canonical != data:
        raise EvidenceUnreadable("the report is not a canonical JSON object")
    return found


def lacking_figures(method: str, report: Mapping[str, Any]) -> list[str]:
    """What the report of one delta must say and does not."""
    return sorted(FIGURES.get(method, frozenset()) - set(report))
