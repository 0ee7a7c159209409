"""An auditor's signature of a piece of evidence, as a small JSON file."""

from __future__ import annotations

from typing import Literal, Self

from rescind.contracts import (
    Account,
    Address,
    ConsortiumReader,
    Deployment,
    withdrawal_attestation_hash,
)
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import EvidenceDocument, Sha256
from rescind.withdrawals.signed_file import SignedFile


class Attestation(SignedFile):
    """One auditor's attestation; `Withdrawals.attest` takes a quorum of them.

    Attributes:
        model_id: A model that has the withdrawal's amendment.
        commitments: Hash of the model's commitment for each part.
        evidence: SHA-256 of the evidence.
    """

    format: Literal["rescind.attestation/2"] = "rescind.attestation/2"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    model_id: int
    commitments: tuple[Sha256, ...]
    evidence: Sha256

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
        return draft.signed(draft.signed_hash(deployment), auditor)

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
        return self.checked_signature(self.signed_hash(reader.deployment), reader)
