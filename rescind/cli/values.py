"""Values on the command line that have a form of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rescind.core.errors import ConfigError


def address(text: str) -> str:
    """An Ethereum address in EIP-55 form; one in a single case is taken as it is. Raises ConfigError."""
    from web3 import Web3

    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ConfigError(f"{text!r} is not an Ethereum address: 0x and 40 hexadecimal digits")
    proper = str(Web3.to_checksum_address(text))
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and text != proper:
        raise ConfigError(f"{text!r} has a mistake: its capitals are not those of EIP-55")
    if int(text, 16) == 0:
        raise ConfigError("the zero address is nobody's")
    return proper


def fingerprint(text: str) -> str:
    """The SHA-256 of a certificate, colons or not, in lower case. Raises ConfigError."""
    found = text.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", found) or int(found, 16) == 0:
        raise ConfigError(
            f"{text!r} is not a fingerprint: 64 hexadecimal digits, as rescind org sign prints them"
        )
    return found


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE each. Raises ConfigError."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise ConfigError(f"{text!r} is no setting: write NAME=VALUE")
        found[name.strip()] = value.strip()
    return found
