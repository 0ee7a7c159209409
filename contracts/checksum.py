"""Addresses in EIP-55 form."""

from __future__ import annotations

from functools import lru_cache

import rlp
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address


@lru_cache(maxsize=16_384)
def checksum_address(address: str) -> str:
    """Return an address with the case that is its checksum (EIP-55).

    The same few addresses stand in every answer, and each checksum is a Keccak hash in Python.

    Args:
        address: 0x and 40 hexadecimal digits, in any case.
    """
    return str(to_checksum_address(address))


def created_address(sender: str, nonce: int) -> str:
    """Return the address of the contract that a transaction creates, EIP-55.

    Args:
        sender: Who sends the transaction.
        nonce: The transaction's nonce.
    """
    encoded = rlp.encode([bytes.fromhex(sender.removeprefix("0x")), nonce])
    return checksum_address("0x" + keccak(encoded)[12:].hex())
