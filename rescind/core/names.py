"""The canonical form of a data subject's name.

A keyboard and an export may write one name in different bytes: "é" as one character or as two, with
a space at the end, with two spaces inside. Everything that names a person stores and compares the
form that `canonical_name` returns. Case is significant: "Ada" and "ada" are two people.
"""

from __future__ import annotations

import unicodedata

from rescind.core.errors import DataError

_JOINERS = "\u200c\u200d"
"""Zero width non-joiner and joiner: Persian, Sinhala and other scripts spell names with them."""


class NameInvalid(DataError):
    """A text cannot be the name of a data subject."""

    code = "name-invalid"


def canonical_name(text: str) -> str:
    r"""Return the one form in which a data subject is named.

    It is in Unicode normal form C, every run of white space is one space, and none is at the ends.

    Raises:
        NameInvalid: The name is empty, or has a lone surrogate, a control character or an invisible
            formatting character.

    Example:
        >>> canonical_name(" Jose\u0301  Mun\u0303oz\t") == "Jos\u00e9 Mu\u00f1oz"
        True
    """
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name:
        raise NameInvalid("The name of a data subject is empty. Give a name.")
    for place, character in enumerate(name, start=1):
        if _is_hidden(character):
            # The message may be logged, so it does not show the name.
            raise NameInvalid(
                f"The name of a data subject has {_described(character)} as character {place}. "
                "Remove it."
            )
    return name


def hidden_character(text: str) -> str:
    """Describe the first lone surrogate, control or invisible character of a text; empty if none."""
    return next((_described(each) for each in text if _is_hidden(each)), "")


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cs") or (category == "Cf" and character not in _JOINERS)


def _described(character: str) -> str:
    kinds = {"Cc": "the control character", "Cs": "the lone surrogate"}
    kind = kinds.get(unicodedata.category(character), "the invisible character")
    return f"{kind} U+{ord(character):04X}"
