"""An auditor's signature of a round, as a small JSON file.

A quorum of them says on chain that every accepted contribution of the round opens its point and is
short, which the contract cannot see.
"""

from __future__ import annotations

import hashlib
from typing import Literal, Self

from rescind.contracts import Account, Address, ConsortiumReader, Contribution
from rescind.core.canonical_json import canonical_json
from rescind.wire import BadSignature
from rescind.withdrawals.evidence import Sha256
from rescind.withdrawals.signed_file import SignedFile


class RoundAttestation(SignedFile):
    """One auditor's attestation of a final round; Rounds.attest takes a quorum of them.

    Attributes:
        rounds: Address of the Rounds contract.
        round_id: The round.
        evidence: SHA-256 of what is attested, as `round_evidence` returns it.
    """

    format: Literal["rescind.round-attestation/1"] = "rescind.round-attestation/1"
    chain_id: int
    rounds: Address
    round_id: int
    evidence: Sha256

    @classmethod
    def sign(cls, reader: ConsortiumReader, round_id: int, evidence: str, auditor: Account) -> Self:
        """Return the attestation, signed by an auditor.

        Args:
            reader: The chain.
            round_id: The final round.
            evidence: SHA-256 of what is attested.
            auditor: The auditor's account.
        """
        draft = cls(
            chain_id=reader.deployment.chain_id,
            rounds=reader.deployment.rounds,
            round_id=round_id,
            evidence=evidence,
            auditor=auditor.address,
        )
        return draft.signed(reader.round_attestation_hash(round_id, evidence), auditor)

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
        hash_ = reader.round_attestation_hash(self.round_id, evidence)
        return self.checked_signature(hash_, reader)


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
