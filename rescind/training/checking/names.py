"""Names of data subjects that may be one person, written in two ways."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

# Small Cyrillic, then Greek letters that look like Latin ones, themselves or as capitals (Unicode
# Technical Standard 39).
_CYRILLIC = (
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458"
    "\u0455\u051b\u051d\u04bb\u0501"
)
_GREEK = "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
_LOOK = str.maketrans(_CYRILLIC + _GREEK, "abekmhopctyxijsqwhdabezhikmvoptyx")
_LATIN = {
    "\u00df": "ss",
    "\u00e6": "ae",
    "\u0153": "oe",
    "\u00f8": "o",
    "\u0142": "l",
    "\u0111": "d",
    "\u00f0": "d",
    "\u00fe": "th",
    "\u0131": "i",
}
_DIGITS = str.maketrans("015", "ols")
_APOSTROPHES = re.compile(r"['\u2018\u2019\u02bc`\u00b4]")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class LookAlikes:
    """Names that may be one person.

    Attributes:
        names: The canonical names, in the order of the data.
        reason: How they differ.
    """

    names: tuple[str, ...]
    reason: str


def look_alikes(names: Iterable[str]) -> list[LookAlikes]:
    """Return the groups of names that differ in case, accents, punctuation, order or look only.

    Example:
        >>> [group.reason for group in look_alikes(["Ada Novak", "Novak, Ada", "Bo"])]
        ['the order of words']
    """
    groups: dict[tuple[str, ...], dict[str, None]] = {}
    for name in names:
        groups.setdefault(_skeleton(name), {})[name] = None
    return [
        LookAlikes(tuple(group), _reason(*list(group)[:2]))
        for group in groups.values()
        if len(group) > 1 and _skeleton(next(iter(group)))
    ]


def _skeleton(name: str) -> tuple[str, ...]:
    return tuple(sorted(_seen(_plain(word)) for word in _words(name)))


def _words(name: str) -> list[str]:
    compatible = unicodedata.normalize("NFKC", _APOSTROPHES.sub("", name))
    return _WORD.findall(compatible.replace("_", " "))


def _plain(word: str) -> str:
    """Return a word in Latin letters as it looks, without accents."""
    return "".join(_LATIN.get(c, c) for c in _bare(word).translate(_LOOK))


def _seen(word: str) -> str:
    """Return a word as the eye takes it: a digit among letters is a letter."""
    return word.translate(_DIGITS) if any(c.isalpha() for c in word) else word


def _reason(first: str, second: str) -> str:
    """Return the first way in which two names of one skeleton differ."""
    if first.casefold() == second.casefold():
        return "case"
    if _words(first.casefold()) == _words(second.casefold()):
        return "punctuation or compatibility characters"
    accents = [[_bare(word) for word in _words(name)] for name in (first, second)]
    if accents[0] == accents[1]:
        return "accents"
    if sorted(accents[0]) == sorted(accents[1]):
        return "the order of words"
    return "letters that look alike"


def _bare(word: str) -> str:
    decomposed = unicodedata.normalize("NFD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))
