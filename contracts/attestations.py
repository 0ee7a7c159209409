"""Hashes that auditors and owners of certificates sign.

They are computed here and not asked of the chain: a signer that signed whatever an RPC endpoint
returned could be made to sign anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

from rescind.contracts.deployment import Deployment

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ROUND = "RoundAttestation(uint64 round,bytes32 commitments,bytes32 evidence)"
_WITHDRAWAL = "Attestation(uint64 withdrawal,uint64 model,bytes32 commitments,bytes32 evidence)"
_FINGERPRINT = b"rescind.fingerprint/1"


def round_attestation_hash(
    deployment: Deployment, round_id: int, commitments: Sequence[str], evidence: str
) -> bytes:
    """Return the EIP-712 hash that an auditor signs for a round.

    Args:
        deployment: The consortium's contracts.
        round_id: The final round.
        commitments: Hashes of the commitments of the model that the round made, part by part.
        evidence: SHA-256 of what is attested.
    """
    struct = encode(
        ["bytes32", "uint64", "bytes32", "bytes32"],
        [keccak(_ROUND.encode()), round_id, _joined(commitments), bytes.fromhex(evidence)],
    )
    return _typed(deployment, deployment.rounds, struct)


def withdrawal_attestation_hash(
    deployment: Deployment,
    withdrawal_id: int,
    model_id: int,
    commitments: Sequence[str],
    evidence: str,
) -> bytes:
    """Return the EIP-712 hash that an auditor signs for a replay or a counter-training.

    Args:
        deployment: The consortium's contracts.
        withdrawal_id: The withdrawal.
        model_id: A model that has its amendment.
        commitments: Hashes of that model's commitments, part by part.
        evidence: SHA-256 of what is attested.
    """
    struct = encode(
        ["bytes32", "uint64", "uint64", "bytes32", "bytes32"],
        [
            keccak(_WITHDRAWAL.encode()),
            withdrawal_id,
            model_id,
            _joined(commitments),
            bytes.fromhex(evidence),
        ],
    )
    return _typed(deployment, deployment.withdrawals, struct)


def fingerprint_message(deployment: Deployment, owner: str) -> bytes:
    """Return what the key of a TLS certificate signs, so that its owner can claim it.

    Args:
        deployment: The consortium's contracts.
        owner: Address of the organization or the aggregator.
    """
    chain_id = deployment.chain_id.to_bytes(32, "big")
    return _FINGERPRINT + chain_id + _address(deployment.members) + _address(owner)


def _joined(commitments: Sequence[str]) -> bytes:
    return keccak(b"".join(bytes.fromhex(each) for each in commitments))


def _typed(deployment: Deployment, contract: str, struct: bytes) -> bytes:
    domain = encode(
        ["bytes32", "bytes32", "bytes32", "uint256", "address"],
        [
            keccak(_DOMAIN.encode()),
            keccak(b"Rescind"),
            keccak(b"2"),
            deployment.chain_id,
            contract,
        ],
    )
    return bytes(keccak(b"\x19\x01" + keccak(domain) + keccak(struct)))


def _address(address: str) -> bytes:
    return bytes.fromhex(address.removeprefix("0x"))
