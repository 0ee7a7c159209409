"""Addresses in EIP-55 form."""

from __future__ import annotations

from functools import lru_cache

from eth_utils.address import to_checksum_address


@lru_cache(maxsize=16_384)
def checksum_address(address: str) -> str:
    """Return an address with the case that is its checksum (EIP-55).

    The same few addresses stand in every answer, and each checksum is a Keccak hash in Python.

    Args:
        address: 0x and 40 hexadecimal digits, in any case.
    """
    return str(to_checksum_address(address))
