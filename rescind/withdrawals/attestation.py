"""An auditor's signature under a piece of evidence, as a small file."""

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
)


class Attestation(Part):
    """What Withdrawals.carryOut takes a quorum of. `method`: number of ILineage.Kind."""

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
    def draft(cls, it: EvidenceDocument, auditor: str) -> Self:
        """What is to be signed."""
        return cls(
            chain_id=it.chain_id,
            withdrawals=it.withdrawals,
            withdrawal_id=it.withdrawal_id,
            method=ModelKind(it.method).number,
            source=it.source.model_id,
            adapter_id=it.adapter_id,
            digest_root=it.digest_root,
            evidence=it.sha256,
            auditor=auditor,
        )

    @classmethod
    def sign(cls, it: EvidenceDocument, auditor: Account) -> Self:
        draft = cls.draft(it, auditor.address)
        signature = sign_typed(draft.document(), auditor.key)
        return draft.model_copy(update={"signature": "0x" + signature.hex()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises EvidenceUnreadable."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise EvidenceUnreadable(
                f"{path} is no attestation: {where}: {first['msg']}"
            ) from error

    def document(self) -> dict[str, Any]:
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

    def check(self, it: EvidenceDocument, consortium: Consortium) -> bytes:
        """Its signature, 65 bytes. Raises BadSignature unless an auditor on chain signed this evidence."""
        expected = Attestation.draft(it, self.auditor)
        for name in type(self).model_fields:
            mine, wanted = getattr(self, name), getattr(expected, name)
            if name != "signature" and mine != wanted:
                raise BadSignature(f"the attestation's {name} is {mine}, of the evidence {wanted}")
        signature = bytes.fromhex(self.signature.removeprefix("0x"))
        signer = recover_signer(self.document(), signature)
        if signer != self.auditor:
            raise BadSignature(f"the attestation of {self.auditor} is signed by {signer}")
        if signer not in consortium.auditors():
            raise BadSignature(f"{signer} is not an auditor of the consortium")
        return signature

    def save(self, path: Path) -> None:
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)
        path.write_text(f"{text}\n", encoding="ascii")
