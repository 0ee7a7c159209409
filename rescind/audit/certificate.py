"""The certificate: a file that states what was withdrawn from which models, and how to check it.

Its bytes are canonical (sorted keys, two spaces, one newline at the end). It is not signed: all
that it says of the withdrawal is on chain, so anyone can make it, and anyone who checks it compares
each statement with the chain. A signature would add only a party that can refuse to give it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from rescind.contracts import Address, Deployment
from rescind.core.errors import VerificationError
from rescind.withdrawals import Attestation, Part, Sha256, first_problem, written

Method = Literal["removal", "replacement", "replay", "counter-training"]
Number = Annotated[int, Field(ge=0, lt=2**64)]
"""Number of a model, a round or a withdrawal, or a count: the chain has no others."""
PointHash = Sha256
"""keccak-256 of a point, as the chain keeps it."""


class CertificateUnreadable(VerificationError):
    """The file cannot be read, or does not hold the canonical bytes of a certificate."""

    code = "certificate-unreadable"


class ConsortiumPart(Part):
    """The consortium and what it agreed on.

    Attributes:
        block_hash: Hash of the block in which the last contract was deployed; it names the chain.
        rules: How the contributions of each part add up: "block", "share" or "latest".
        chained: Whether each round trains on what all contributed before.
        attested: Whether auditors attest that every accepted contribution opens its point.
    """

    deployment: Deployment
    block_hash: str
    parameters_id: Sha256
    base_model_id: Sha256
    rules: tuple[Literal["block", "share", "latest"], ...]
    chained: bool
    attested: bool


class EntryPart(Part):
    """One contribution in a model, for one part; round 0 is a counter-delta."""

    round_id: Number
    organization: Address
    weight: Number
    point_hash: PointHash


class PublicationPart(Part):
    """A publisher's word on which files are a model."""

    publisher: Address
    adapter_id: Sha256
    opening_id: Sha256


class ModelPart(Part):
    """A model.

    Attributes:
        model_id: Its number; 0 is the base model alone.
        commitments: Hash of its commitment for each part.
        content: Every contribution in it, for each part.
        publication: Which files it is; None if no one published any.
    """

    model_id: Number
    commitments: tuple[PointHash, ...]
    content: tuple[tuple[EntryPart, ...], ...]
    publication: PublicationPart | None


class ReplacedPart(Part):
    """A model in use that the withdrawal concerned, and its successor.

    Attributes:
        amendment: Number of the amendment that was made.
        transaction: The transaction that registered the successor.
    """

    amendment: Number
    before: ModelPart
    after: ModelPart
    transaction: str


class OfferedPart(Part):
    """A contribution that was offered for the withdrawal or its replay; round 0 counteracts.

    Attributes:
        replay: Whether it was offered for the replay.
    """

    replay: bool
    round_id: Number
    organization: Address
    artifact_ids: tuple[Sha256, ...]
    point_hashes: tuple[PointHash, ...]


class LedgerPart(Part):
    """The organization's private ledger as it was last anchored.

    Its records hold the request, the data subject and each later step. The organization can show
    one of them with an inclusion proof, without showing any other.
    """

    size: Number
    root: Sha256
    anchor_transaction: str


class WithdrawalPart(Part):
    """The withdrawal.

    Attributes:
        subject: A salted commitment to one data subject; empty for the whole organization.
        amendments: Numbers of the amendments that it made, in order.
        evidence: SHA-256 of what auditors attested; empty where none is needed.
        auditors: Who attested it.
        offered: What was offered for it, in the order of the chain.
        ledger: The organization's ledger when the withdrawal closed; None if it anchored none.
    """

    withdrawal_id: Number
    organization: Address
    name: str
    subject: str
    expelled: bool
    amendments: tuple[Number, ...]
    request_transaction: str
    close_transaction: str
    close_block: Number
    evidence: str
    auditors: tuple[Address, ...]
    offered: tuple[OfferedPart, ...]
    ledger: LedgerPart | None


class HeadPart(Part):
    """A head of the latest model, solved from its summed statistics.

    Attributes:
        task: The agreed task.
        head: `rescind.training.heads.Head.id`.
        ridge: What was added to the diagonal.
        scale_bits: The resolution of its weights.
    """

    task: str
    head: Sha256
    ridge: Annotated[int, Field(ge=1, lt=2**63)]
    scale_bits: Annotated[int, Field(ge=0, le=64)]


class ReplayPart(Part):
    """The result of a run without the organization, by the word of the file's maker.

    Attributes:
        exact: Whether the run gave the same bytes as the published adapter.
    """

    adapter_id: Sha256
    exact: bool


class EvaluationPart(Part):
    """Measurements of the file's maker: scores from 0 to 1, and the SHA-256 of their files."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None] | None
    files: dict[str, Sha256]


class Certificate(Part):
    """The certificate of one closed withdrawal.

    Attributes:
        replaced: Every model in use that the withdrawal concerned; may be empty.
        latest: The model that rounds built on when it was closed.
        attestations: The auditors' signed lists of what they measured, ascending by auditor.
        heads: The heads of the latest model by task; empty where no statistics are agreed on, or
            its files were not at hand.
    """

    format: Literal["rescind.certificate/6"] = "rescind.certificate/6"
    consortium: ConsortiumPart
    withdrawal: WithdrawalPart
    method: Method
    replaced: tuple[ReplacedPart, ...]
    latest: ModelPart
    attestations: tuple[Attestation, ...]
    heads: tuple[HeadPart, ...]
    replay: ReplayPart | None
    evaluation: EvaluationPart | None

    @property
    def removed(self) -> set[str]:
        """Hashes of the organization's points that a replaced model lost."""
        return {
            entry.point_hash
            for pair in self.replaced
            for before, after in zip(pair.before.content, pair.after.content, strict=True)
            for entry in before
            if entry.organization == self.withdrawal.organization
            and entry.point_hash not in {kept.point_hash for kept in after}
        }

    @property
    def excludes(self) -> bool:
        """True if nothing of the organization may remain."""
        return self.method in ("removal", "replay") and not self.withdrawal.subject

    def models(self) -> Iterator[ModelPart]:
        """Yield every model in the certificate, each once.

        A model that the file describes in two ways is yielded twice, so that both are checked.
        """
        named = [each for pair in self.replaced for each in (pair.before, pair.after)]
        yield from dict.fromkeys([*named, self.latest])

    def canonical_bytes(self) -> bytes:
        """Return the bytes of the file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False)
        return f"{text}\n".encode("ascii")

    def save(self, path: Path) -> None:
        """Write the certificate to a file."""
        path.write_bytes(self.canonical_bytes())


def read_certificate(path: Path) -> Certificate:
    """Return the certificate in a file.

    Raises:
        CertificateUnreadable: The file cannot be read, or does not hold the canonical bytes of a
            certificate.
    """
    try:
        data = path.read_bytes()
        certificate = Certificate.model_validate_json(data)
    except OSError as error:
        raise CertificateUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise CertificateUnreadable(
            f"{path} is not a valid certificate: {first_problem(error)}"
        ) from error
    if written(certificate.canonical_bytes) != data:
        raise CertificateUnreadable(
            f"{path} is not in canonical form: its bytes were changed. Ask for the file again."
        )
    return certificate
