"""Parse command line values that have a format of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rescind.core.errors import ConfigError


def address(text: str) -> str:
    """Return an Ethereum address in EIP-55 form.

    Raises:
        ConfigError: `text` is not an address, is the zero address, or mixes cases in another way than
            EIP-55 does, which means that a character is wrong.
    """
    from rescind.contracts.checksum import checksum_address

    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise ConfigError(
            f"{text!r} is not an Ethereum address. Write 0x and 40 hexadecimal digits."
        )
    proper = checksum_address(text)
    if text[2:] not in (text[2:].lower(), text[2:].upper()) and text != proper:
        raise ConfigError(
            f"{text!r} has a wrong EIP-55 checksum: at least one character is mistyped. Copy the address again."
        )
    if int(text, 16) == 0:
        raise ConfigError(
            "The zero address does not belong to any account. Pass the organization's address."
        )
    return proper


def fingerprint(text: str) -> str:
    """Return the SHA-256 of a certificate in lower case, without colons.

    Raises:
        ConfigError: `text` is not 64 hexadecimal digits, or is all zeros.
    """
    digits = text.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits) or int(digits, 16) == 0:
        raise ConfigError(
            f"{text!r} is not a fingerprint. Pass the 64 hexadecimal digits that rescind org sign printed."
        )
    return digits


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Return the settings of NAME=VALUE texts.

    Raises:
        ConfigError: A text has no name or no value.
    """
    settings: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise ConfigError(f"{text!r} is not a valid setting. Write NAME=VALUE.")
        settings[name.strip()] = value.strip()
    return settings
