"""An auditor's signature of a piece of evidence, as a small JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from rescind.contracts import (
    Account,
    Address,
    Consortium,
    ModelKind,
)
from rescind.wire import (
    BadSignature,
    attestation_typed_data,
    recover_signer,
    sign_typed,
)
from rescind.withdrawals.evidence import (
    EvidenceDocument,
    EvidenceUnreadable,
    Part,
    Sha256,
    first_problem,
)


class Attestation(Part):
    """One auditor's attestation; Withdrawals.carryOut takes a quorum of them.

    Attributes:
        method: The number of the method in ILineage.Kind.
        source: The model that is replaced.
        adapter_id: Id of the new model's adapter.
        digest_root: Merkle root of the new adapter's linear digest.
        evidence: SHA-256 of the evidence.
        signature: EIP-712, 65 bytes in hexadecimal; empty in a draft.
    """

    format: Literal["rescind.attestation/1"] = "rescind.attestation/1"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    method: int
    source: int
    adapter_id: Sha256
    digest_root: Sha256
    evidence: Sha256
    auditor: Address
    signature: str = Field(default="", pattern=r"^(0x[0-9a-f]{130})?$")

    @classmethod
    def draft(cls, evidence: EvidenceDocument, auditor: str) -> Self:
        """Return the attestation without a signature."""
        return cls(
            chain_id=evidence.chain_id,
            withdrawals=evidence.withdrawals,
            withdrawal_id=evidence.withdrawal_id,
            method=ModelKind(evidence.method).number,
            source=evidence.source.model_id,
            adapter_id=evidence.adapter_id,
            digest_root=evidence.digest_root,
            evidence=evidence.sha256,
            auditor=auditor,
        )

    @classmethod
    def sign(cls, evidence: EvidenceDocument, auditor: Account) -> Self:
        """Return the attestation, signed by an auditor."""
        draft = cls.draft(evidence, auditor.address)
        signature = sign_typed(draft.document(), auditor.key)
        return draft.model_copy(update={"signature": "0x" + signature.hex()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the attestation in a file.

        Raises:
            EvidenceUnreadable: The file cannot be read, or does not hold an attestation.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise EvidenceUnreadable(
                f"{path} is not a valid attestation: {first_problem(error)}"
            ) from error

    def document(self) -> dict[str, Any]:
        """Return the EIP-712 document that the auditor signs."""
        return attestation_typed_data(
            chain_id=self.chain_id,
            withdrawals_address=self.withdrawals,
            withdrawal_id=self.withdrawal_id,
            method=self.method,
            source=self.source,
            artifact_id=self.adapter_id,
            digest_root=self.digest_root,
            evidence=self.evidence,
        )

    def check(self, evidence: EvidenceDocument, consortium: Consortium) -> bytes:
        """Check the attestation against its evidence and the chain.

        Returns:
            The signature, 65 bytes.

        Raises:
            BadSignature: It is for other evidence, or not signed by an auditor on chain.
        """
        expected = Attestation.draft(evidence, self.auditor)
        for name in type(self).model_fields:
            value, wanted = getattr(self, name), getattr(expected, name)
            if name != "signature" and value != wanted:
                raise BadSignature(
                    f"the attestation of {self.auditor} has {name} {value}, but the evidence has "
                    f"{wanted}: it was signed for other evidence"
                )
        signature = bytes.fromhex(self.signature.removeprefix("0x"))
        signer = recover_signer(self.document(), signature)
        if signer != self.auditor:
            raise BadSignature(f"the attestation of {self.auditor} is signed by {signer}")
        if signer not in consortium.auditors():
            raise BadSignature(f"{signer} is not an auditor of the consortium")
        return signature

    def save(self, path: Path) -> None:
        """Write the attestation to a file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)
        path.write_text(f"{text}\n", encoding="ascii")
