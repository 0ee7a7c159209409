"""A public, frozen feature map of texts: hashed n-grams of words and characters.

Every organization and everybody who serves computes the same integers from the same text, without a
model. Feature hashing: Weinberger et al. 2009, arXiv 0902.2206.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.core.frozen import Frozen

_WORD = re.compile(r"\w+|[^\w\s]")
_SEPARATOR = "\x1f"
_PERSON = b"rescind.ngrams/1"
"""Sets these hashes apart from every other use of BLAKE2b."""

Length = Annotated[int, Field(ge=1, le=8)]


def fold(text: str) -> str:
    """Return what n-grams are taken of: Unicode form KC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_of(text: str) -> list[str]:
    """Return the words and punctuation marks of a text."""
    return _WORD.findall(fold(text))


def word_ngram(words: Sequence[str]) -> str:
    """Return the n-gram of words as it is hashed."""
    return f"w{len(words)}" + _SEPARATOR.join(words)


def character_ngram(characters: str) -> str:
    """Return the n-gram of characters as it is hashed."""
    return f"c{len(characters)}{characters}"


class NgramFeatures(Frozen):
    """The features of a text: a constant 1, then one number in {-1, 0, 1} for each bucket.

    A text is taken in Unicode normal form KC, its case folded, each run of white space as one space.
    Each distinct n-gram adds its sign to its bucket, both from BLAKE2b; what a bucket comes to is
    cut to -1, 0 or 1. Unicode tables of another Python version may treat new characters differently.

    Attributes:
        buckets: The number of buckets.
        words: Lengths of the n-grams of words; punctuation marks are words.
        characters: Lengths of the n-grams of characters, spaces included.
    """

    kind: Literal["ngrams"] = "ngrams"
    buckets: Annotated[int, Field(ge=8, le=2**14)] = 2047
    words: tuple[Length, ...] = (1, 2)
    characters: tuple[Length, ...] = (4,)

    @model_validator(mode="after")
    def _has_lengths(self) -> Self:
        if not self.words and not self.characters:
            raise ValueError("give a length of n-grams, of words or of characters")
        for lengths in (self.words, self.characters):
            if list(lengths) != sorted(set(lengths)):
                raise ValueError("give the lengths of n-grams in ascending order, each once")
        return self

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return self.buckets + 1

    @property
    def largest(self) -> int:
        """The largest absolute value of a feature."""
        return 1

    @property
    def largest_square(self) -> int:
        """The most that the squares of a row sum to."""
        return self.dimensions

    def of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the features of texts, (texts, dimensions)."""
        rows = np.zeros((len(texts), self.dimensions), dtype=np.int64)
        rows[:, 0] = 1
        for row, text in zip(rows, texts, strict=True):
            for ngram in sorted(set(self._ngrams(text))):
                feature, sign = self.place(ngram)
                row[feature] += sign
        return np.clip(rows, -1, 1)

    def place(self, ngram: str) -> tuple[int, int]:
        """Return the feature of an n-gram, and the sign that it adds there."""
        word = hashlib.blake2b(
            ngram.encode("utf-8", "surrogatepass"), digest_size=8, person=_PERSON
        ).digest()
        number = int.from_bytes(word, "little")
        return 1 + (number >> 1) % self.buckets, 1 if number & 1 else -1

    def _ngrams(self, text: str) -> Iterator[str]:
        folded = fold(text)
        words = _WORD.findall(folded)
        for length in self.words:
            for start in range(len(words) - length + 1):
                yield word_ngram(words[start : start + length])
        padded = f" {folded} "
        for length in self.characters:
            for start in range(len(padded) - length + 1):
                yield character_ngram(padded[start : start + length])
