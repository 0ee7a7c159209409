"""EIP-712 documents: an organization's Ethereum key says which artifact is its own, an auditor's what
it attests."""

from __future__ import annotations

import hashlib
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

from rescind.wire.errors import BadSignature


def domain(chain_id: int, contract_address: str) -> dict[str, object]:
    """EIP-712 domain: of what a daemon checks, with the address of Rounds; of what a contract checks,
    with its own."""
    return {
        "name": "Rescind",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": contract_address,
    }


def update_typed_data(
    *, chain_id: int, rounds_address: str, round_id: int, artifact_id: str, size: int, nonce: int
) -> dict[str, Any]:
    """What is signed for a round."""
    return {
        "domain": domain(chain_id, rounds_address),
        "primaryType": "Update",
        "types": {
            "Update": [
                {"name": "roundId", "type": "uint64"},
                {"name": "artifactId", "type": "bytes32"},
                {"name": "size", "type": "uint64"},
                {"name": "nonce", "type": "uint64"},
            ],
        },
        "message": {
            "roundId": round_id,
            "artifactId": bytes.fromhex(artifact_id),
            "size": size,
            "nonce": nonce,
        },
    }


def fisher_typed_data(
    *, chain_id: int, rounds_address: str, round_id: int, artifact_id: str, size: int
) -> dict[str, Any]:
    """What is signed for statistics that are posted with an update."""
    return {
        "domain": domain(chain_id, rounds_address),
        "primaryType": "Fisher",
        "types": {
            "Fisher": [
                {"name": "roundId", "type": "uint64"},
                {"name": "artifactId", "type": "bytes32"},
                {"name": "size", "type": "uint64"},
            ],
        },
        "message": {
            "roundId": round_id,
            "artifactId": bytes.fromhex(artifact_id),
            "size": size,
        },
    }


def offer_typed_data(
    *,
    chain_id: int,
    rounds_address: str,
    withdrawal_id: int,
    round_id: int,
    artifact_id: str,
    size: int,
    report: bytes,
) -> dict[str, Any]:
    """What is signed for a delta that a withdrawal needs. `report`: its bytes, which are hashed."""
    return {
        "domain": domain(chain_id, rounds_address),
        "primaryType": "Offer",
        "types": {
            "Offer": [
                {"name": "withdrawalId", "type": "uint64"},
                {"name": "roundId", "type": "uint64"},
                {"name": "artifactId", "type": "bytes32"},
                {"name": "size", "type": "uint64"},
                {"name": "report", "type": "bytes32"},
            ],
        },
        "message": {
            "withdrawalId": withdrawal_id,
            "roundId": round_id,
            "artifactId": bytes.fromhex(artifact_id),
            "size": size,
            "report": hashlib.sha256(report).digest(),
        },
    }


def disclosure_typed_data(
    *,
    chain_id: int,
    rounds_address: str,
    organization: str,
    index: int,
    time: int,
    certificate: str,
) -> dict[str, Any]:
    """What an auditor signs to be shown a record of an organization's ledger. `certificate`: SHA-256 of the
    one that it calls with."""
    return {
        "domain": domain(chain_id, rounds_address),
        "primaryType": "Disclosure",
        "types": {
            "Disclosure": [
                {"name": "organization", "type": "address"},
                {"name": "index", "type": "uint64"},
                {"name": "time", "type": "uint64"},
                {"name": "certificate", "type": "bytes32"},
            ],
        },
        "message": {
            "organization": organization,
            "index": index,
            "time": time,
            "certificate": bytes.fromhex(certificate),
        },
    }


def attestation_typed_data(
    *,
    chain_id: int,
    withdrawals_address: str,
    withdrawal_id: int,
    method: int,
    source: int,
    artifact_id: str,
    digest_root: str,
    evidence: str,
) -> dict[str, Any]:
    """What an auditor signs; Withdrawals.attestationHash is its hash. `method`: ILineage.Kind."""
    return {
        "domain": domain(chain_id, withdrawals_address),
        "primaryType": "Attestation",
        "types": {
            "Attestation": [
                {"name": "withdrawal", "type": "uint64"},
                {"name": "method", "type": "uint8"},
                {"name": "source", "type": "uint64"},
                {"name": "adapterId", "type": "bytes32"},
                {"name": "digestRoot", "type": "bytes32"},
                {"name": "evidence", "type": "bytes32"},
            ],
        },
        "message": {
            "withdrawal": withdrawal_id,
            "method": method,
            "source": source,
            "adapterId": bytes.fromhex(artifact_id),
            "digestRoot": bytes.fromhex(digest_root),
            "evidence": bytes.fromhex(evidence),
        },
    }


def sign_typed(document: dict[str, Any], private_key: bytes) -> bytes:
    """65 bytes r, s, v."""
    signed = Account.sign_message(_signable(document), private_key)
    return bytes(signed.signature)


def recover_signer(document: dict[str, Any], signature: bytes) -> str:
    """EIP-55 address that signed. Raises BadSignature for anything that is not a signature."""
    if len(signature) != 65:
        raise BadSignature(f"signature has {len(signature)} bytes, expected 65")
    try:
        return str(Account.recover_message(_signable(document), signature=signature))
    except Exception as error:  # eth-account raises several unrelated types
        raise BadSignature(f"not a valid signature: {error}") from error


def _signable(document: dict[str, Any]) -> Any:
    return encode_typed_data(
        domain_data=document["domain"],
        message_types=document["types"],
        message_data=document["message"],
    )
