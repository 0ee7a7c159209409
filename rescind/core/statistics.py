"""Sums over an organization's rows: what a ridge classifier needs of its data.

For rows with integer features phi (the first of which is 1) and a label each,

    G = sum of phi phi'    (dimensions, dimensions)
    Q = sum of phi e'      (dimensions, classes), with e the label's unit vector

They are integers and add up over organizations, so that the sums without an organization, or
without one person's rows, are those of a run that it was never in. Analytic learning in one round:
Zhuang et al. 2024 (AFL, arXiv 2405.16240); Fani et al. 2024 (Fed3R).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from rescind.core.delta import WEIGHT_ONE, OutOfBounds, WrongShape
from rescind.core.errors import ArtifactError, DataError
from rescind.core.features import (
    MOST_DIMENSIONS,
    Features,
    checked_rows,
    feature_rows,
)
from rescind.core.frozen import Frozen
from rescind.core.names import hidden_character
from rescind.core.ngrams import NgramFeatures, fold
from rescind.core.security import DigestBudgetExceeded, check_budget
from rescind.core.totals import add_totals

GRAM, MOMENTS = "gram", "moments"
MOST_LABEL_CHARACTERS = 1024
_EXACT = 2**53
"""Integers below are exact in float64, and so are sums of products that stay below."""


class NotRowSums(ArtifactError):
    """Statistics that are the sums of no rows."""

    code = "artifact-not-row-sums"


class UnknownLabel(DataError):
    """A row has a label that is not one of the agreed ones."""

    code = "unknown-label"


def check_labels(labels: Sequence[str]) -> None:
    """Check that labels can be told apart by those who read them.

    Answers are compared without regard to case and white space, so labels must differ in more.

    Raises:
        ValueError: A label has a hidden character, is not in Unicode form NFC with single spaces, or
            reads like another.
    """
    read: dict[str, str] = {}
    for label in labels:
        if hidden := hidden_character(label):
            raise ValueError(f"the label {label!r} has {hidden}: remove it")
        if not clean_label(label):
            raise ValueError("a label is of white space alone: remove it")
        if label != clean_label(label):
            raise ValueError(
                f"the label {label!a} has white space at an end or in a row, or is not in Unicode "
                f"form NFC: write {clean_label(label)!a}"
            )
        other = read.setdefault(fold(label), label)
        if other != label:
            raise ValueError(f"the labels {other!a} and {label!a} read alike: keep one of them")


def clean_label(text: str) -> str:
    """Return how a label is written: in Unicode form NFC, with single spaces and none at the ends."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


class Classes(Frozen):
    """A task that members agree on: which features, and which labels.

    Attributes:
        features: The feature map.
        labels: The labels, sorted, each once.
        max_rows: The most rows of one organization.
        min_rows: The least; an organization with fewer posts nothing of the task.
        row_square: The most that the squares of a row's features sum to. The first features of a
            longer row are kept, and the others are 0. By default whatever the map can give.
    """

    features: Features = NgramFeatures()
    labels: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=MOST_LABEL_CHARACTERS)], ...],
        Field(min_length=2),
    ]
    max_rows: Annotated[int, Field(ge=1, le=2**31)] = 2**20
    min_rows: Annotated[int, Field(ge=1)] = 1
    row_square: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _labels_sorted(self) -> Self:
        if list(self.labels) != sorted(set(self.labels)):
            raise ValueError("give the labels in ascending order, each once")
        return self

    @field_validator("labels")
    @classmethod
    def _labels_differ_to_readers(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        check_labels(labels)
        return labels

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.min_rows > self.max_rows:
            raise ValueError(f"min_rows is {self.min_rows}, and max_rows {self.max_rows}")
        return self

    @model_validator(mode="after")
    def _digest_binds(self) -> Self:
        # The budget also keeps every entry far below 2^63.
        try:
            check_budget(self.norm_bound * WEIGHT_ONE)
        except DigestBudgetExceeded as error:
            raise ValueError(f"{error}; or lower max_rows or the number of features") from error
        return self

    @model_validator(mode="after")
    def _head_can_be_solved(self) -> Self:
        if self.features.dimensions > MOST_DIMENSIONS:
            raise ValueError(
                f"there are {self.features.dimensions} features, and a head is solved for at most "
                f"{MOST_DIMENSIONS}"
            )
        return self

    @property
    def trace_bound(self) -> int:
        """The most that the trace of one organization's G can be."""
        return self.max_rows * self.square

    @property
    def square(self) -> int:
        """The most that the squares of a row sum to."""
        most = self.features.largest_square
        return most if self.row_square is None else min(most, self.row_square)

    @property
    def norm_bound(self) -> float:
        """The L2 norm that one organization's statistics never exceed.

        G is positive semidefinite, so its Frobenius norm is at most its trace; and by Cauchy and
        Schwarz the squares of Q's entries sum to at most trace(G) times the number of rows.
        """
        return math.hypot(self.trace_bound, math.sqrt(self.trace_bound * self.max_rows))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors of `RowStatistics`."""
        size = self.features.dimensions
        return {GRAM: (size * (size + 1) // 2,), MOMENTS: (size, len(self.labels))}

    def collect(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        rows: NDArray[np.int64] | None = None,
    ) -> RowStatistics:
        """Return the statistics of rows.

        Args:
            texts: The text of each row.
            labels: The label of each row.
            rows: The features of the texts, (texts, dimensions), where they were computed already:
                `rescind.core.features.feature_rows`, which takes hidden states of a base model from
                `rescind.training.features`.

        Raises:
            UnknownLabel: A label was not agreed on.
            DataError: There are more rows than agreed, or not as many texts, labels and feature
                rows.
            NeedsBase: The features need the base model, and `rows` is missing.
            WrongShape: The feature rows are not those of the agreed map.
            OutOfBounds: A feature is larger than agreed.
        """
        if len(texts) != len(labels) or (rows is not None and len(rows) != len(texts)):
            raise DataError(
                f"there are {len(texts)} texts, {len(labels)} labels"
                + ("" if rows is None else f" and {len(rows)} feature rows")
            )
        if len(texts) > self.max_rows:
            raise DataError(
                f"there are {len(texts)} rows, and the members agreed on at most {self.max_rows}"
            )
        places = {label: place for place, label in enumerate(self.labels)}
        for number, label in enumerate(labels, start=1):
            if label not in places:
                raise UnknownLabel(
                    f"row {number} has the label {label!r}, which is not one of the "
                    f"{len(self.labels)} that the members agreed on. Correct the row, or agree on "
                    "the label."
                )
        targets = np.zeros((len(labels), len(self.labels)), dtype=np.int64)
        targets[np.arange(len(labels)), [places[label] for label in labels]] = 1
        features = feature_rows(self.features, texts) if rows is None else rows
        return RowStatistics.of(self.cut(checked_rows(self.features, features)), targets)

    def cut(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return rows of features, of each as many as its agreed length allows."""
        if self.row_square is None:
            return rows
        return np.where(np.cumsum(rows * rows, axis=1) <= self.row_square, rows, 0)


@dataclass(frozen=True, eq=False)
class RowStatistics:
    """Sums over rows.

    Attributes:
        gram: The upper triangle of G, row by row, int64 (dimensions (dimensions + 1) / 2,).
        moments: Q, int64 (dimensions, classes).
    """

    gram: NDArray[np.int64]
    moments: NDArray[np.int64]

    @classmethod
    def of(cls, features: NDArray[np.int64], targets: NDArray[np.int64]) -> Self:
        """Return the sums over rows.

        Args:
            features: (rows, dimensions), the first of each row is 1.
            targets: (rows, classes), one 1 in each row.

        Raises:
            OutOfBounds: A sum may not fit.
        """
        largest = int(np.abs(features).max(initial=1))
        if len(features) * largest**2 >= _EXACT:
            raise OutOfBounds(
                f"{len(features)} rows of features up to {largest} may sum to 2^53 or more. Use "
                "smaller features, or fewer rows."
            )
        # Products of float64 are much faster than those of integers, and exact below 2^53.
        rows = features.astype(np.float64)
        gram = (rows.T @ rows).astype(np.int64)
        moments = (rows.T @ targets.astype(np.float64)).astype(np.int64)
        return cls(gram[np.triu_indices(len(gram))], moments)

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return len(self.moments)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The number of rows of each class, int64 (classes,)."""
        counts: NDArray[np.int64] = self.moments[0]
        return counts

    @property
    def rows(self) -> int:
        """The number of rows."""
        return int(self.gram[0])

    @property
    def trace(self) -> int:
        """The trace of G."""
        # Of Python integers: false statistics may have a diagonal whose sum does not fit 64 bits.
        return sum(np.diagonal(self.full_gram()).tolist())

    def full_gram(self) -> NDArray[np.int64]:
        """Return G, symmetric, int64 (dimensions, dimensions)."""
        size = self.dimensions
        full = np.zeros((size, size), dtype=np.int64)
        full[np.triu_indices(size)] = self.gram
        return full + np.triu(full, 1).T

    def tensors(self) -> dict[str, NDArray[np.int64]]:
        """Return the tensors of the artifact, by bare name."""
        return {GRAM: self.gram, MOMENTS: self.moments}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        """Return the statistics that an artifact holds; `check` says whether they can be right."""
        return cls(tensors[GRAM].astype(np.int64), tensors[MOMENTS].astype(np.int64))

    @classmethod
    def sum(cls, parts: Iterable[RowStatistics]) -> Self:
        """Return the sums over all rows of several organizations, exact.

        Raises:
            SumOverflow: A sum may not fit 64 bits.
            WrongShape: The parts have different shapes.
        """
        return cls.of_tensors(add_totals(part.tensors() for part in parts))

    def without(self, part: RowStatistics) -> RowStatistics:
        """Return the sums over the rows that are not in `part`, exact.

        Raises:
            SumOverflow: A difference may not fit 64 bits.
            WrongShape: The two have different shapes.
        """
        negative = {name: -tensor for name, tensor in part.tensors().items()}
        return self.of_tensors(add_totals([self.tensors(), negative]))


@dataclass(frozen=True)
class Tolerance:
    """How far agreed noise may move an organization's statistics; without noise, not at all.

    Attributes:
        gram: An entry of G.
        moments: An entry of Q.
        counts: The sum of the classes' counts against the number of rows.
        trace: The trace of G.
        spectrum: The spectral norm of what is added to the sum of (phi, e) (phi, e)'.
        norm: The L2 norm of all that is added.
    """

    gram: float = 0.0
    moments: float = 0.0
    counts: float = 0.0
    trace: float = 0.0
    spectrum: int = 0
    norm: float = 0.0


EXACT = Tolerance()


def check(statistics: RowStatistics, classes: Classes, tolerance: Tolerance = EXACT) -> None:
    """Check that an organization's statistics can be the sums of rows.

    Within each class the scatter sum (phi - mean) (phi - mean)' is positive semidefinite, so
    G - sum over classes of q q' / n is, too: one test for G and for how Q fits to it. It is done
    in float64, with a tolerance for rounding.

    Args:
        statistics: What the organization posted.
        classes: The agreed task.
        tolerance: How far agreed noise may have moved them; see `rescind.core.statistics_noise`.

    Raises:
        WrongShape: The tensors have other shapes than agreed.
        NotRowSums: They are the sums of no rows.
        OutOfBounds: There are more rows, or larger features, than agreed.
    """
    shapes = {name: tensor.shape for name, tensor in statistics.tensors().items()}
    if shapes != classes.shapes():
        raise WrongShape(f"the statistics have shapes {shapes}, and {classes.shapes()} are agreed")
    rows, counts, trace = statistics.rows, statistics.counts, statistics.trace
    if not -tolerance.gram <= rows <= classes.max_rows + tolerance.gram:
        raise OutOfBounds(f"there are {rows} rows, and 0 to {classes.max_rows} are agreed")
    if rows and rows < classes.min_rows - tolerance.gram:
        raise OutOfBounds(
            f"there are {rows} rows, and an organization with fewer than {classes.min_rows} posts "
            "nothing"
        )
    every = sum(counts.tolist())
    if counts.min() < -tolerance.moments or abs(every - rows) > tolerance.counts:
        raise NotRowSums(
            f"the classes have {every} rows together, the least one {counts.min()}, and there are "
            f"{rows} rows"
        )
    most_rows = rows + tolerance.gram
    most = most_rows * classes.square + tolerance.trace
    if not -tolerance.trace <= trace <= most:
        raise OutOfBounds(f"the trace of G is {trace}, and {rows} rows have at most {most:.0f}")
    largest = most_rows * classes.features.largest + tolerance.moments
    # Not by absolute values: that of -2^63 does not fit 64 bits and stays negative.
    if max(statistics.moments.max(initial=0), -int(statistics.moments.min(initial=0))) > largest:
        raise OutOfBounds(f"an entry of Q is larger than {rows} rows allow")
    _check_scatter(statistics, tolerance.spectrum)


def _check_scatter(statistics: RowStatistics, spectrum: int) -> None:
    # scipy takes a fifth of a second to import, and most importers of the core check nothing.
    import scipy.linalg

    gram = statistics.full_gram().astype(np.float64)
    # Noise leaves no class without a sum, and adds at most its spectral norm to each diagonal.
    empty = (statistics.counts == 0) & (spectrum == 0)
    if np.any(statistics.moments[:, empty]):
        raise NotRowSums("a class without rows has sums")
    moments = statistics.moments[:, ~empty].astype(np.float64)
    scatter = gram - (moments / (statistics.counts[~empty] + spectrum)) @ moments.T
    # Rounding changes eigenvalues by less than this (Weyl's inequality).
    slack = 8 * len(gram) * np.finfo(np.float64).eps * max(1.0, float(np.trace(gram)))
    try:
        scipy.linalg.cholesky(scatter + (slack + spectrum) * np.eye(len(gram)), check_finite=False)
    except scipy.linalg.LinAlgError:
        raise NotRowSums(
            "G is not the sum of rows with these class sums: the scatter within the classes is not "
            "positive semidefinite"
        ) from None
