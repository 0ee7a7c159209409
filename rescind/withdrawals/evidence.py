"""The aggregator's evidence of a replay or a counter-training, for auditors to attest.

Canonical JSON; the SHA-256 of its bytes goes on chain with the auditors' signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError

from rescind.contracts import Address
from rescind.core import Term
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import VerificationError
from rescind.core.frozen import Frozen
from rescind.core.json_text import parse_json

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Method = Literal["replay", "counter-training"]
MOST_REPORT_BYTES = 2**16

FIGURES: Mapping[str, frozenset[str]] = {
    "replay": frozenset({"start", "seed", "steps", "examples", "first_loss", "last_loss"}),
    "counter-training": frozenset({"start", "seed", "method", "verdict"}),
}
"""Fields that an organization's report of one delta must have, by the withdrawal's method."""


class EvidenceUnreadable(VerificationError):
    """Evidence, an attestation or a report cannot be read, or is malformed."""

    code = "evidence-unreadable"


class Part(Frozen):
    """A frozen section of an evidence document or a certificate; unknown fields are errors."""


class ModelPart(Part):
    """A model on chain, with the files that the aggregator published for it.

    Attributes:
        model_id: Its number.
        commitments: Hash of its commitment for each part.
        adapter_id: Id of its adapter.
        opening_id: Id of its openings.
    """

    model_id: int
    commitments: tuple[Sha256, ...]
    adapter_id: Sha256
    opening_id: Sha256


class TermPart(Part):
    """One contribution in a model.

    Attributes:
        round_id: The round that it was contributed to; 0 for a counter-delta.
        organization: Address of its organization.
        artifact_id: Id of its artifact, as registered.
        point_hash: Hash of its registered point.
        weight: Its weight in basis points.
    """

    round_id: int
    organization: Address
    artifact_id: Sha256
    point_hash: Sha256
    weight: int

    @classmethod
    def of(cls, term: Term) -> Self:
        """Return the part that describes a term."""
        return cls(
            round_id=term.round_id,
            organization=term.organization,
            artifact_id=term.artifact_id,
            point_hash=term.point_hash,
            weight=term.weight,
        )

    def term(self) -> Term:
        """Return the term that this part describes."""
        return Term(
            self.round_id, self.organization, self.artifact_id, self.weight, self.point_hash
        )


class OfferedPart(Part):
    """One delta that was registered for the withdrawal, or for its replay.

    Attributes:
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round whose delta it replaces; 0 for a counter-delta.
        organization: Address of its organization.
        artifact_id: Id of its artifact.
        point_hash: Hash of its registered point.
        size: Length of the artifact in bytes.
        report: The organization's statements about the training.
        signature: The organization's EIP-712 signature of artifact and report.
        norm: L2 norm in parameter units, measured by the aggregator.
    """

    offer_id: int
    round_id: int
    organization: Address
    artifact_id: Sha256
    point_hash: Sha256
    size: int
    report: dict[str, Any]
    signature: str
    norm: float


class EvidenceDocument(Part):
    """Evidence of what a replay or a counter-training did, as the aggregator publishes it.

    Attributes:
        subject: A salted commitment to one data subject; empty for the whole organization.
        amendment: The amendment on chain that it is about.
        source_id: The last model without the amendment, in the line of the model.
        model: A model that has the amendment.
        terms: The content of the model, for its first part.
        offered: The deltas that were registered for the withdrawal or its replay.
        change_norm: L2 norm of the model's adapter less that of the source, in parameter units;
            None where the source cannot be built any more.
    """

    format: Literal["rescind.evidence/2"] = "rescind.evidence/2"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    method: Method
    organization: Address
    subject: str
    coupling: Literal["isolated", "federated"]
    amendment: int
    source_id: int
    model: ModelPart
    terms: tuple[TermPart, ...]
    offered: tuple[OfferedPart, ...]
    change_norm: float | None

    def canonical_bytes(self) -> bytes:
        """Return the document as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical bytes, which goes on chain."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @classmethod
    def parse(cls, data: bytes, name: str = "evidence") -> Self:
        """Return the document with these canonical bytes.

        Args:
            data: The bytes.
            name: The name of their file, for error messages.

        Raises:
            EvidenceUnreadable: The bytes are not canonical, or do not hold a document.
        """
        try:
            document = cls.model_validate_json(data)
        except ValidationError as error:
            raise EvidenceUnreadable(
                f"{name} is not valid evidence: {first_problem(error)}"
            ) from error
        if written(document.canonical_bytes) != data:
            raise EvidenceUnreadable(
                f"{name} is not in canonical form: its bytes were changed. Get the evidence again."
            )
        return document

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the document in a file.

        Raises:
            EvidenceUnreadable: The file cannot be read, or does not hold a canonical document.
        """
        try:
            return cls.parse(path.read_bytes(), str(path))
        except OSError as error:
            raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error


def read_report(data: bytes) -> dict[str, Any]:
    """Return an organization's report of one delta.

    Raises:
        EvidenceUnreadable: It is longer than 64 KiB, or not a canonical JSON object.
    """
    if len(data) > MOST_REPORT_BYTES:
        raise EvidenceUnreadable(
            f"the report has {len(data)} bytes. At most {MOST_REPORT_BYTES} are accepted."
        )
    try:
        report = parse_json(data)
        canonical = canonical_json(report)
    except ValueError as error:
        raise EvidenceUnreadable(f"the report is not JSON: {error}") from error
    if not isinstance(report, dict) or canonical != data:
        raise EvidenceUnreadable(
            "the report is not a canonical JSON object (sorted keys, no spaces)"
        )
    return report


def missing_figures(method: str, report: Mapping[str, Any]) -> list[str]:
    """Return the fields that a report of this method must have and does not, sorted."""
    return sorted(FIGURES.get(method, frozenset()) - set(report))


def written(write: Callable[[], bytes]) -> bytes | None:
    """Return what a document is written as; None if it holds a number that JSON cannot write.

    A number beyond the range of floats is read as infinity.
    """
    try:
        return write()
    except ValueError:
        return None


def first_problem(error: ValidationError) -> str:
    """Return the place and the message of the first problem that pydantic found."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return f"{where}: {first['msg']}"
