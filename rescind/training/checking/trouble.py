"""Signs that a text was decoded wrongly, or is not plain text."""

from __future__ import annotations

import re
import unicodedata

_MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac|\u00ef\u00bf\u00bd|\u00f0\u0178")
"""UTF-8 that was read as Windows-1252 or Latin-1: "Ã©" for "é", "â€™" for an apostrophe."""
_SPACES = "\t\n\r\f\v"


def encoding_trouble(text: str) -> str | None:
    r"""Return the first sign of trouble in a text, None if there is none.

    Example:
        >>> encoding_trouble("caf\u00c3\u00a9")
        'characters of UTF-8 that was read in another encoding, such as \u00c3\u00a9'
        >>> encoding_trouble("caf\u00e9")
    """
    if "\ufffd" in text:
        return "the replacement character U+FFFD, which stands for bytes that were lost"
    mojibake = _MOJIBAKE.search(text)
    if mojibake:
        return f"characters of UTF-8 that was read in another encoding, such as {mojibake.group()}"
    if text.isascii() and text.isprintable():
        return None
    return next((sign for sign in map(_sign, text) if sign is not None), None)


def _sign(character: str) -> str | None:
    if character.isprintable() or character in _SPACES:
        return None
    kind = {
        "Cc": "the control character",
        "Co": "the private-use character",
        "Cn": "the unassigned character",
    }.get(unicodedata.category(character))
    if character == "\ufeff":
        kind = "the byte order mark"
    return f"{kind} U+{ord(character):04X}" if kind else None
