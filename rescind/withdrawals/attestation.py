"""An auditor's signature of a piece of evidence, as a small JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from eth_account import Account as EthAccount
from pydantic import Field, ValidationError

from rescind.contracts import (
    Account,
    Address,
    ConsortiumReader,
    Deployment,
    withdrawal_attestation_hash,
)
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import (
    EvidenceDocument,
    EvidenceUnreadable,
    Part,
    Sha256,
    first_problem,
)


class Attestation(Part):
    """One auditor's attestation; `Withdrawals.attest` takes a quorum of them.

    Attributes:
        model_id: A model that has the withdrawal's amendment.
        commitments: Hash of the model's commitment for each part.
        evidence: SHA-256 of the evidence.
        signature: EIP-712, 65 bytes in hexadecimal; empty in a draft.
    """

    format: Literal["rescind.attestation/2"] = "rescind.attestation/2"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    model_id: int
    commitments: tuple[Sha256, ...]
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
            model_id=evidence.model.model_id,
            commitments=evidence.model.commitments,
            evidence=evidence.sha256,
            auditor=auditor,
        )

    @classmethod
    def sign(cls, evidence: EvidenceDocument, deployment: Deployment, auditor: Account) -> Self:
        """Return the attestation, signed by an auditor.

        Args:
            evidence: The evidence, checked before.
            deployment: The contracts that the auditor signs for.
            auditor: The auditor's account.

        Raises:
            BadSignature: The evidence is for other contracts.
        """
        draft = cls.draft(evidence, auditor.address)
        hash_ = draft.signed_hash(deployment)
        signature = bytes(EthAccount.unsafe_sign_hash(hash_, auditor.key).signature)
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

    def signed_hash(self, deployment: Deployment) -> bytes:
        """Return the EIP-712 hash that the auditor signs.

        Raises:
            BadSignature: The attestation is for other contracts.
        """
        own = (self.chain_id, self.withdrawals)
        expected = (deployment.chain_id, deployment.withdrawals)
        if own != expected:
            raise BadSignature(
                f"the attestation of {self.auditor} is for the contract {own[1]} on chain "
                f"{own[0]}, but this consortium has {expected[1]} on chain {expected[0]}"
            )
        return withdrawal_attestation_hash(
            deployment, self.withdrawal_id, self.model_id, self.commitments, self.evidence
        )

    def check(self, evidence: EvidenceDocument, reader: ConsortiumReader) -> bytes:
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
        signer = _signer(self.signed_hash(reader.deployment), signature, self.auditor)
        if signer != self.auditor:
            raise BadSignature(f"the attestation of {self.auditor} is signed by {signer}")
        if signer not in reader.auditors():
            raise BadSignature(f"{signer} is not an auditor of the consortium")
        return signature

    def save(self, path: Path) -> None:
        """Write the attestation to a file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)
        path.write_text(f"{text}\n", encoding="ascii")


def _signer(hash_: bytes, signature: bytes, auditor: str) -> str:
    try:
        return str(EthAccount._recover_hash(hash_, signature=signature))
    except Exception as error:  # eth-account raises several unrelated types
        raise BadSignature(f"the signature of {auditor} is not valid: {error}") from error
