"""An auditor's signature of a piece of evidence, with what was measured, as a small JSON file.

The contract counts the signature of the evidence. Beside it stands a signed statement of what the
auditor measured, what is the word of others and what was skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from rescind.contracts import (
    Account,
    Address,
    ConsortiumReader,
    Deployment,
    withdrawal_attestation_hash,
)
from rescind.core.canonical_json import canonical_json
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import EvidenceDocument, Part, Sha256, written
from rescind.withdrawals.signed_file import SignedFile
from rescind.withdrawals.signed_text import sign_text, text_signer

Status = Literal["measured", "stated", "skipped"]
"""How far a check was made: by the auditor's tool, by the word of others, or not."""


class StatementPart(Part):
    """The result of one check, as an attestation lists it.

    Attributes:
        check: Name of the check.
        detail: What was found, whose word it is, or what was not at hand.
        figures: What was measured, with the limits.
    """

    check: str
    detail: str
    figures: dict[str, float | int | str | None] = Field(default_factory=dict)


_OWN_FIELDS = {"signature", "statement_signature", "measured", "stated", "skipped"}
"""Fields that the evidence does not determine."""


class Attestation(SignedFile):
    """One auditor's attestation; `Withdrawals.attest` takes a quorum of them.

    Attributes:
        model_id: A model that has the withdrawal's amendment.
        commitments: Hash of the model's commitment for each part.
        evidence: SHA-256 of the evidence.
        measured: Checks that the auditor's tool made.
        stated: Checks that rest on the word of others.
        skipped: Checks that were not made.
        statement_signature: The auditor's EIP-191 signature of all fields but the signatures, as
            canonical JSON.
    """

    format: Literal["rescind.attestation/3"] = "rescind.attestation/3"
    chain_id: int
    withdrawals: Address
    withdrawal_id: int
    model_id: int
    commitments: tuple[Sha256, ...]
    evidence: Sha256
    measured: tuple[StatementPart, ...] = ()
    stated: tuple[StatementPart, ...] = ()
    skipped: tuple[StatementPart, ...] = ()
    statement_signature: str = Field(default="", pattern=r"^(0x[0-9a-f]{130})?$")

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
    def sign(
        cls,
        evidence: EvidenceDocument,
        deployment: Deployment,
        auditor: Account,
        statements: Mapping[Status, tuple[StatementPart, ...]] | None = None,
    ) -> Self:
        """Return the attestation, signed by an auditor.

        Args:
            evidence: The evidence, checked before.
            deployment: The contracts that the auditor signs for.
            auditor: The auditor's account.
            statements: What was measured, stated and skipped, by these names.

        Raises:
            BadSignature: The evidence is for other contracts.
        """
        draft = cls.draft(evidence, auditor.address).model_copy(
            update=dict(statements.items() if statements else ())
        )
        signature = sign_text(draft.statement_bytes(), auditor)
        draft = draft.model_copy(update={"statement_signature": signature})
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
        for name in set(type(self).model_fields) - _OWN_FIELDS:
            value, wanted = getattr(self, name), getattr(expected, name)
            if value != wanted:
                raise BadSignature(
                    f"the attestation of {self.auditor} has {name} {value}, but the evidence has "
                    f"{wanted}: it was signed for other evidence"
                )
        self.check_statement()
        return self.checked_signature(self.signed_hash(reader.deployment), reader)

    def check_statement(self) -> None:
        """Check that the auditor signed what was measured, stated and skipped.

        Raises:
            BadSignature: It did not.
        """
        data = written(self.statement_bytes)
        if data is None:
            raise BadSignature(f"the attestation of {self.auditor} has a figure that is not finite")
        signer = text_signer(data, self.statement_signature)
        if signer != self.auditor:
            raise BadSignature(
                f"the measurements in the attestation of {self.auditor} are signed by {signer}: the "
                "file was changed. Ask the auditor for it again."
            )

    def statement_bytes(self) -> bytes:
        """Return what the statement's signature signs."""
        signatures = {"signature", "statement_signature"}
        return canonical_json(self.model_dump(mode="json", exclude=signatures))
