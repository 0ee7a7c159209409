"""From a row of n-gram features back to its text, with a dictionary of words.

A beam search over words: every n-gram of the text so far must be in the row. A text is found if its
features are exactly the row. Case and white space are lost, as the features do not have them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rescind.core.ngrams import NgramFeatures, character_ngram, word_ngram

_WIDTH = 48
_MOST_WORDS = 80
_MISSES, _STEP_MISSES = 8, 3
"""The most n-grams of a text, and of one more word, that may be missing in its row: one with the
opposite sign may be in the same bucket."""


@dataclass(frozen=True)
class _Draft:
    """A beginning of a text: the features that it explains, and its n-grams that are not there."""

    text: str
    words: tuple[str, ...]
    ngrams: frozenset[str]
    explained: frozenset[int]
    misses: int


class Speller:
    """Spells the texts of rows.

    Args:
        features: The public feature map.
        words: The dictionary: words and punctuation marks, folded as the map folds them.
    """

    def __init__(self, features: NgramFeatures, words: Iterable[str]) -> None:
        self._features = features
        self._words = sorted(set(words))
        self._places: dict[str, tuple[int, int]] = {}

    def spell(self, row: NDArray[np.int64]) -> str | None:
        """Return a text with exactly these features, or None if none was found."""
        search = _Search(self, row)
        drafts = [_Draft("", (), frozenset(), frozenset(), 0)]
        for _ in range(_MOST_WORDS):
            longer = {each.text: each for draft in drafts for each in search.extended(draft)}
            drafts = sorted(longer.values(), key=search.rank)[:_WIDTH]
            for draft in drafts:
                if search.complete(draft) and np.array_equal(
                    self._features.of([draft.text])[0], row
                ):
                    return draft.text
        return None

    def place(self, ngram: str) -> tuple[int, int]:
        """Return the feature and sign of an n-gram."""
        if ngram not in self._places:
            self._places[ngram] = self._features.place(ngram)
        return self._places[ngram]

    def fitting(self, row: NDArray[np.int64]) -> list[str]:
        """Return the words of the dictionary of which nearly all n-grams are in a row."""
        return [
            word for word, places in self._own if self._missing(row, places) <= len(places) // 4
        ]

    @cached_property
    def _own(self) -> list[tuple[str, list[tuple[int, int]]]]:
        return [
            (word, [self.place(ngram) for ngram in self._ngrams_of(word)]) for word in self._words
        ]

    def _ngrams_of(self, word: str) -> Iterator[str]:
        if 1 in self._features.words:
            yield word_ngram([word])
        for length in self._features.characters:
            for start in range(len(word) - length + 1):
                yield character_ngram(word[start : start + length])

    @staticmethod
    def _missing(row: NDArray[np.int64], places: list[tuple[int, int]]) -> int:
        return sum(int(row[feature]) != sign for feature, sign in places)

    def added(self, draft: _Draft, word: str, gap: str) -> set[str]:
        """Return the n-grams that a word adds to a draft."""
        before = f" {draft.text}"
        text = before + gap + word
        words = (*draft.words, word)
        found = {
            word_ngram(words[len(words) - length :])
            for length in self._features.words
            if length <= len(words)
        }
        for length in self._features.characters:
            for start in range(max(0, len(before) - length + 1), len(text) - length + 1):
                found.add(character_ngram(text[start : start + length]))
        return found


class _Search:
    """The search for the text of one row."""

    def __init__(self, speller: Speller, row: NDArray[np.int64]) -> None:
        self._speller = speller
        self._signs = {int(place): int(row[place]) for place in np.flatnonzero(row[1:]) + 1}
        self._candidates = speller.fitting(row)

    def extended(self, draft: _Draft) -> Iterator[_Draft]:
        """Yield a draft with one more word, for each word that may follow."""
        for word in self._candidates:
            for gap in self._gaps(draft, word):
                longer = self._with(draft, word, gap)
                # A word that explains nothing new is one of a loop.
                new = len(longer.explained) > len(draft.explained)
                if new and longer.misses <= min(_MISSES, draft.misses + _STEP_MISSES):
                    yield longer

    @staticmethod
    def _gaps(draft: _Draft, word: str) -> tuple[str, ...]:
        if not draft.words:
            return ("",)
        marks = not (word[0].isalnum() and draft.words[-1][-1].isalnum())
        return ("", " ") if marks else (" ",)

    def _with(self, draft: _Draft, word: str, gap: str) -> _Draft:
        new = self._speller.added(draft, word, gap) - draft.ngrams
        places = [self._speller.place(ngram) for ngram in new]
        present = {place for place, sign in places if self._signs.get(place) == sign}
        missing = sum(self._signs.get(place) != sign for place, sign in places)
        return _Draft(
            draft.text + gap + word,
            (*draft.words, word),
            draft.ngrams | new,
            draft.explained | present,
            draft.misses + missing,
        )

    @staticmethod
    def rank(draft: _Draft) -> tuple[int, int]:
        """Return what the best draft has least of."""
        # A beginning with long words explains more than the right one with short words.
        return draft.misses, -len(draft.explained)

    def complete(self, draft: _Draft) -> bool:
        """Return whether a draft explains the row, but for the n-grams of its end."""
        return len(self._signs) - len(draft.explained) <= 2
