"""Find rows, labels, members and words in posted sums.

With e the unit vector of a row's label and v = [phi; e], the posted G and Q give all of

    M = sum of v v' = [[G, Q], [Q', diag(counts)]].

1. **Rows.** If a feature is in one row only, its diagonal entry in M is 1 and its column is that row,
   up to the sign of the constant. Taking v v' off M leaves the sum over the other rows, in which
   more features are in one row only, and so on. Nothing is guessed: a row that is found is right.
2. **Members.** v is a row of the sum only if M - v v' is still positive semidefinite, that is, if v
   is in the span of M and v' M^-1 v, its leverage, is at most 1. With fewer rows than features
   texts that are no rows are not in the span.
3. **Words.** Each class of Q is a count sketch of its rows (Charikar, Chen and Farach-Colton 2002).
   The count of a word in a class is about the median of its n-grams' signed sums there.

All of this needs the public feature map only, and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from rescind.core.ngrams import NgramFeatures, character_ngram, word_ngram
from rescind.core.statistics import RowStatistics


@dataclass(frozen=True, eq=False)
class FoundRows:
    """Rows that were found in sums.

    Attributes:
        features: int64 (rows, dimensions).
        labels: The place of each row's label, int64 (rows,).
        left: How many rows were not found.
    """

    features: NDArray[np.int64]
    labels: NDArray[np.int64]
    left: int


def find_rows(statistics: RowStatistics) -> FoundRows:
    """Return the rows that sums over rows with features -1, 0 and 1 give away.

    Args:
        statistics: Posted sums, or the difference of two published ones.
    """
    matrix, size = _joint(statistics), statistics.dimensions
    rows_of_one: list[NDArray[np.int64]] = []
    searching = True
    while searching:
        searching = False
        for place in np.flatnonzero(matrix.diagonal() == 1):
            row = matrix[:, place] * matrix[0, place]
            if matrix[place, place] == 1 and _is_row(row, size):
                used = np.flatnonzero(row)
                matrix[np.ix_(used, used)] -= np.outer(row[used], row[used])
                rows_of_one.append(row)
                searching = True
    rows = np.array(rows_of_one, dtype=np.int64).reshape(len(rows_of_one), len(matrix))
    return FoundRows(rows[:, :size], rows[:, size:].argmax(axis=1), max(0, int(matrix[0, 0])))


def _is_row(row: NDArray[np.int64], size: int) -> bool:
    labels = row[size:]
    one = labels.min() >= 0 and labels.sum() == 1
    return bool(row[0] == 1 and np.abs(row).max() == 1 and one)


def leverages(
    statistics: RowStatistics, features: NDArray[np.int64], *, ridge: float = 1e-6
) -> NDArray[np.float64]:
    """Return v' (M + ridge I)^-1 v of candidate rows with each label, (candidates, classes).

    Of a row of the sum with its own label it is below 1.

    Args:
        statistics: Posted sums.
        features: Candidate rows, (candidates, dimensions).
        ridge: Far below 1 for exact sums; with noise, more than the noise's spectral norm.
    """
    matrix = _joint(statistics).astype(np.float64)
    factor = scipy.linalg.cho_factor(matrix + ridge * np.eye(len(matrix)), overwrite_a=True)
    inverse = scipy.linalg.cho_solve(factor, np.eye(len(matrix)))
    size = statistics.dimensions
    own = np.einsum("ij,ij->i", features @ inverse[:size, :size], features)
    shared: NDArray[np.float64] = 2 * features @ inverse[:size, size:]
    leverages: NDArray[np.float64] = own[:, None] + shared + inverse[size:, size:].diagonal()
    return leverages


def word_counts(
    statistics: RowStatistics, features: NgramFeatures, words: Sequence[str]
) -> NDArray[np.int64]:
    """Return in how many rows of each class a word seems to be, (words, classes).

    Args:
        statistics: Posted sums.
        features: The public feature map.
        words: Words as the map folds them.
    """
    counts = np.zeros((len(words), statistics.moments.shape[1]), dtype=np.int64)
    for number, word in enumerate(words):
        ngrams = [word_ngram([word])] if 1 in features.words else []
        for length in features.characters:
            starts = range(len(word) - length + 1)
            ngrams += [character_ngram(word[start : start + length]) for start in starts]
        sketches = [sign * statistics.moments[place] for place, sign in map(features.place, ngrams)]
        if sketches:
            counts[number] = np.rint(np.median(sketches, axis=0))
    return counts


def _joint(statistics: RowStatistics) -> NDArray[np.int64]:
    gram, moments = statistics.full_gram(), statistics.moments
    return np.block([[gram, moments], [moments.T, np.diag(statistics.counts)]])
