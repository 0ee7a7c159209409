"""An organization's report of rounds that it trained again before a witness.

Canonical JSON. The organization signs it, then the auditor who watched it being made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from rescind.contracts import Account, Address
from rescind.core import write_atomically
from rescind.core.canonical_json import canonical_json
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import EvidenceUnreadable, Part, Sha256, first_problem, written
from rescind.withdrawals.signed_text import sign_text, text_signer

Signature = Annotated[str, Field(pattern=r"^(0x[0-9a-f]{130})?$")]


class StackPart(Part):
    """The software and hardware of a training; the same stack gives the same bytes.

    Attributes:
        torch: Version of torch.
        device: The device's name.
        cpu: The vector instructions that torch uses on the CPU.
        threads: Threads of torch on the CPU.
        precision: "float32" or "bfloat16", the coarser of base weights and arithmetic.
        deterministic: Whether only deterministic kernels were used.
    """

    torch: str
    device: str
    cpu: str
    threads: int
    precision: Literal["float32", "bfloat16"]
    deterministic: bool


class RepeatedPart(Part):
    """One round that was trained again.

    Attributes:
        offer_id: The withdrawal or the replay that the delta was offered for.
        round_id: The round.
        offered: Id of the offered artifact.
        repeated: Id of the artifact that the repetition gave.
        start: Id of the sum that it was trained from; empty for the base model.
        steps: Optimizer steps.
        examples: Pairs trained on.
        first_loss: Loss of the first batch, in nats a token.
        last_loss: Loss of the last batch, in nats a token.
    """

    offer_id: int
    round_id: int
    offered: Sha256
    repeated: Sha256
    start: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    steps: int
    examples: int
    first_loss: float
    last_loss: float


class Repetition(Part):
    """The report of one organization for one replay.

    Attributes:
        block: The block whose hash the sample was drawn by.
        block_hash: Its hash, with 0x.
        stack: What computed it.
        rounds: The rounds, ascending; at least those of the sample.
        signature: The organization's signature.
        witness: The auditor who watched it; empty without one.
        witness_signature: The witness's signature.
    """

    format: Literal["rescind.repetition/1"] = "rescind.repetition/1"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    organization: Address
    block: int
    block_hash: str
    stack: StackPart
    rounds: tuple[RepeatedPart, ...]
    signature: Signature = ""
    witness: Address | Literal[""] = ""
    witness_signature: Signature = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the report in a file.

        Raises:
            EvidenceUnreadable: The file cannot be read, or does not hold canonical bytes of one.
        """
        try:
            data = path.read_bytes()
            report = cls.model_validate_json(data)
        except OSError as error:
            raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise EvidenceUnreadable(
                f"{path} is not a valid repetition: {first_problem(error)}"
            ) from error
        if written(report.canonical_bytes) != data:
            raise EvidenceUnreadable(f"{path} is not in canonical form: its bytes were changed.")
        return report

    def save(self, path: Path) -> None:
        """Write the report to a file."""
        write_atomically(path, self.canonical_bytes())

    def canonical_bytes(self) -> bytes:
        """Return the report as canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    def signed(self, organization: Account) -> Self:
        """Return the report with its organization's signature, and without a witness."""
        return self.model_copy(
            update={
                "signature": sign_text(self._statement(), organization),
                "witness": "",
                "witness_signature": "",
            }
        )

    def witnessed(self, auditor: Account) -> Self:
        """Return the report with the signature of the auditor who watched it being made.

        Raises:
            BadSignature: The organization has not signed it.
        """
        self.check_signature()
        report = self.model_copy(update={"witness": auditor.address})
        signature = sign_text(report._testimony(), auditor)
        return report.model_copy(update={"witness_signature": signature})

    def check_signature(self) -> None:
        """Check that the organization signed the report.

        Raises:
            BadSignature: It did not.
        """
        signer = text_signer(self._statement(), self.signature)
        if signer != self.organization:
            raise BadSignature(
                f"the repetition of {self.organization} is signed by {signer}. Ask the "
                "organization for the file that its own node wrote."
            )

    def check_witness(self) -> None:
        """Check that the witness signed the report.

        Raises:
            BadSignature: It did not.
        """
        signer = text_signer(self._testimony(), self.witness_signature)
        if signer != self.witness:
            raise BadSignature(
                f"the repetition of {self.organization} names the witness {self.witness}, but "
                f"{signer} signed it"
            )

    def _statement(self) -> bytes:
        return canonical_json(
            self.model_dump(mode="json", exclude={"signature", "witness", "witness_signature"})
        )

    def _testimony(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"witness_signature"}))
