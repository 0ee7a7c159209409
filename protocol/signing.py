"""EIP-712 signatures of updates: an organization's Ethereum key says which artifact is its own."""

from __future__ import annotations

from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

from protocol.errors import BadSignature


def domain(chain_id: int, rounds_address: str) -> dict[str, object]:
    """EIP-712 domain of everything that is signed for one consortium."""
    return {
        "name": "Rescind",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": rounds_address,
    }


def update_typed_data(
    *, chain_id: int, rounds_address: str, round_id: int, artifact_id: str, size: int, nonce: int
) -> dict[str, Any]:
    """The EIP-712 document that is signed."""
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
