"""An auditor's signature of a round, as a small JSON file.

A quorum of them says on chain that every accepted contribution of the round opens its point and is
short, which the contract cannot see.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal, Self

from eth_account import Account as EthAccount
from pydantic import Field, ValidationError

from rescind.contracts import (
    Account,
    Address,
    ConsortiumReader,
    Contribution,
)
from rescind.core.canonical_json import canonical_json
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import EvidenceUnreadable, Part, Sha256, first_problem


class RoundAttestation(Part):
    """One auditor's attestation of a final round; Rounds.attest takes a quorum of them.

    Attributes:
        rounds: Address of the Rounds contract.
        round_id: The round.
        evidence: SHA-256 of what is attested, as `round_evidence` returns it.
        signature: EIP-712, 65 bytes in hexadecimal; empty in a draft.
    """

    format: Literal["rescind.round-attestation/1"] = "rescind.round-attestation/1"
    chain_id: int
    rounds: Address
    round_id: int
    evidence: Sha256
    auditor: Address
    signature: str = Field(default="", pattern=r"^(0x[0-9a-f]{130})?$")

    @classmethod
    def sign(cls, reader: ConsortiumReader, round_id: int, evidence: str, auditor: Account) -> Self:
        """Return the attestation, signed by an auditor.

        Args:
            reader: The chain.
            round_id: The final round.
            evidence: SHA-256 of what is attested.
            auditor: The auditor's account.
        """
        signed = reader.round_attestation_hash(round_id, evidence)
        signature = bytes(EthAccount.unsafe_sign_hash(signed, auditor.key).signature)
        return cls(
            chain_id=reader.deployment.chain_id,
            rounds=reader.deployment.rounds,
            round_id=round_id,
            evidence=evidence,
            auditor=auditor.address,
            signature="0x" + signature.hex(),
        )

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
                f"{path} is not a valid attestation of a round: {first_problem(error)}"
            ) from error

    def check(self, evidence: str, reader: ConsortiumReader) -> bytes:
        """Check the attestation against the chain.

        Args:
            evidence: SHA-256 of what has to be attested of the round.
            reader: The chain.

        Returns:
            The signature, 65 bytes.

        Raises:
            BadSignature: It is for something else, or not signed by an auditor on chain.
        """
        deployment = reader.deployment
        own = (self.chain_id, self.rounds, self.evidence)
        wanted = (deployment.chain_id, deployment.rounds, evidence)
        if own != wanted:
            raise BadSignature(
                f"the attestation of {self.auditor} is for evidence {own[2]} and contract {own[1]} "
                f"on chain {own[0]}, but round {self.round_id} has {wanted[2]}, {wanted[1]} and "
                f"{wanted[0]}"
            )
        signature = bytes.fromhex(self.signature.removeprefix("0x"))
        signed = reader.round_attestation_hash(self.round_id, evidence)
        try:
            signer = str(EthAccount._recover_hash(signed, signature=signature))
        except Exception as error:  # eth-account raises several unrelated types
            raise BadSignature(f"the signature of {self.auditor} is not valid: {error}") from error
        if signer != self.auditor:
            raise BadSignature(f"the attestation of {self.auditor} is signed by {signer}")
        if signer not in reader.auditors():
            raise BadSignature(f"{signer} is not an auditor of the consortium")
        return signature

    def save(self, path: Path) -> None:
        """Write the attestation to a file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)
        path.write_text(f"{text}\n", encoding="ascii")


def accepted_contributions(reader: ConsortiumReader, round_id: int) -> list[Contribution]:
    """Return the contributions to a round that were accepted, by member number.

    A member that leaves later stays among them, so that all auditors sign the same.
    """
    counted = set(reader.accepted(round_id))
    return [each for each in reader.contributions(round_id) if each.organization in counted]


def round_evidence(reader: ConsortiumReader, round_id: int) -> str:
    """Return the SHA-256 of what auditors attest of a round.

    It follows from the chain, so all auditors come to the same bytes without talking: which
    contributions were accepted, and the agreed parameters that they were checked
    against.

    Args:
        reader: The chain.
        round_id: The final round.
    """
    document = {
        "format": "rescind.round-evidence/1",
        "chain_id": reader.deployment.chain_id,
        "rounds": reader.deployment.rounds,
        "parameters_id": reader.settings().parameters_id,
        "round_id": round_id,
        "contributions": [
            {
                "organization": each.organization,
                "artifact_ids": list(each.parts.artifact_ids),
                "point_hashes": list(each.parts.point_hashes),
            }
            for each in accepted_contributions(reader, round_id)
        ],
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()
