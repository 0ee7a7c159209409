"""EIP-712 documents that organizations and auditors sign for daemons, with their Ethereum keys.

What contracts check is in `rescind.contracts.attestations`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

from rescind.core.recursion import restore_recursion_limit
from rescind.wire.errors import BadSignature

restore_recursion_limit()

_SIGNATURE_BYTES = 65
"""r (32), s (32) and v (1)."""
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The order of secp256k1 (SEC 2, section 2.4.1)."""

_FIELDS: dict[str, tuple[tuple[str, str], ...]] = {
    "Update": (
        ("roundId", "uint64"),
        ("artifactId", "bytes32"),
        ("size", "uint64"),
        ("nonce", "uint64"),
    ),
    "Fisher": (
        ("roundId", "uint64"),
        ("artifactId", "bytes32"),
        ("size", "uint64"),
    ),
    "Offer": (
        ("offerId", "uint64"),
        ("roundId", "uint64"),
        ("artifactId", "bytes32"),
        ("size", "uint64"),
        ("report", "bytes32"),
    ),
    "Disclosure": (
        ("organization", "address"),
        ("index", "uint64"),
        ("time", "uint64"),
        ("certificate", "bytes32"),
    ),
}
"""Name and Solidity type of each signed field, by primary type. The order is part of the hash."""


def domain(chain_id: int, contract_address: str) -> dict[str, object]:
    """Return the EIP-712 domain of a document.

    Args:
        chain_id: The chain of the consortium.
        contract_address: The address of Rounds, which stands for the consortium.
    """
    return {
        "name": "Rescind",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": contract_address,
    }


def update_typed_data(
    *, chain_id: int, rounds_address: str, round_id: int, artifact_id: str, size: int, nonce: int
) -> dict[str, Any]:
    """Return the document that an organization signs to submit its update of a round.

    Args:
        chain_id: The chain of the consortium.
        rounds_address: The Rounds contract of the consortium.
        round_id: The round that the update is for.
        artifact_id: SHA-256 of the update, hexadecimal.
        size: Bytes of the update.
        nonce: A number that the organization has used for no other update; nonces ascend.
    """
    values = (round_id, bytes.fromhex(artifact_id), size, nonce)
    return _document("Update", domain(chain_id, rounds_address), values)


def fisher_typed_data(
    *, chain_id: int, rounds_address: str, round_id: int, artifact_id: str, size: int
) -> dict[str, Any]:
    """Return the document that an organization signs to post the Fisher of its data.

    Args:
        chain_id: The chain of the consortium.
        rounds_address: The Rounds contract of the consortium.
        round_id: The round with whose update the Fisher is posted.
        artifact_id: SHA-256 of the Fisher, hexadecimal.
        size: Bytes of the Fisher.
    """
    values = (round_id, bytes.fromhex(artifact_id), size)
    return _document("Fisher", domain(chain_id, rounds_address), values)


def offer_typed_data(
    *,
    chain_id: int,
    rounds_address: str,
    offer_id: int,
    round_id: int,
    artifact_id: str,
    size: int,
    report: bytes,
) -> dict[str, Any]:
    """Return the document that an organization signs to submit a delta that it offered on chain.

    Args:
        chain_id: The chain of the consortium.
        rounds_address: The Rounds contract of the consortium.
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round whose delta is replaced; 0 for a counter-delta.
        artifact_id: SHA-256 of the delta, hexadecimal.
        size: Bytes of the delta.
        report: The training report, canonical JSON; the document holds its SHA-256.
    """
    report_hash = hashlib.sha256(report).digest()
    values = (offer_id, round_id, bytes.fromhex(artifact_id), size, report_hash)
    return _document("Offer", domain(chain_id, rounds_address), values)


def disclosure_typed_data(
    *,
    chain_id: int,
    rounds_address: str,
    organization: str,
    index: int,
    time: int,
    certificate: str,
) -> dict[str, Any]:
    """Return the document that an auditor signs to be shown a record of a ledger.

    Args:
        chain_id: The chain of the consortium.
        rounds_address: The Rounds contract of the consortium.
        organization: Address of the ledger's organization.
        index: Position of the record in the ledger.
        time: Unix seconds at which the auditor asks.
        certificate: SHA-256 of the auditor's TLS certificate, hexadecimal.
    """
    values = (organization, index, time, bytes.fromhex(certificate))
    return _document("Disclosure", domain(chain_id, rounds_address), values)


def sign_typed(document: dict[str, Any], private_key: bytes) -> bytes:
    """Return the signature of a document: 65 bytes, r, s and v."""
    signed = Account.sign_message(_signable(document), private_key)
    return bytes(signed.signature)


def check_signature_form(signature: bytes) -> None:
    """Check that a signature is written in the one form that contracts take (EIP-2).

    Anyone can write another's signature in other forms: with n - s for s, or with a v that holds a
    chain. Contracts refuse those, and two files must not differ in them alone.

    Raises:
        BadSignature: It has other than 65 bytes, an s above n / 2, or a v other than 27 and 28.
    """
    if len(signature) != _SIGNATURE_BYTES:
        raise BadSignature(f"the signature has {len(signature)} bytes, expected {_SIGNATURE_BYTES}")
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    if s > _ORDER // 2 or v not in (27, 28):
        raise BadSignature(
            f"the signature is in a form that contracts refuse (v is {v}, s is "
            f"{'too large' if s > _ORDER // 2 else 'in range'}): ask its signer for it again"
        )


def recover_signer(document: dict[str, Any], signature: bytes) -> str:
    """Return the EIP-55 address whose key signed a document.

    Raises:
        BadSignature: The bytes are not a signature.
    """
    check_signature_form(signature)
    try:
        return str(Account.recover_message(_signable(document), signature=signature))
    except Exception as error:  # eth-account raises several unrelated types
        raise BadSignature(f"the signature is not valid: {error}") from error


def _document(
    primary_type: str, document_domain: dict[str, object], values: tuple[object, ...]
) -> dict[str, Any]:
    """Pair the fields of a type with their values, in the order of the table."""
    fields = _FIELDS[primary_type]
    return {
        "domain": document_domain,
        "primaryType": primary_type,
        "types": {primary_type: [{"name": name, "type": kind} for name, kind in fields]},
        "message": {name: value for (name, _), value in zip(fields, values, strict=True)},
    }


def _signable(document: dict[str, Any]) -> Any:
    return encode_typed_data(
        domain_data=document["domain"],
        message_types=document["types"],
        message_data=document["message"],
    )
